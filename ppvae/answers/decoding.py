"""Numbers of a pair as values of a table: in the user's columns, types and units."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.answers.rows import Rows
from ppvae.data import Schema
from ppvae.data.tabular import Category


def decoded(x: Tensor, columns: tuple[str, ...], schema: Schema | None) -> dict[str, Any]:
    """Return the columns of a table that numbers `(data, *event)` stand for.

    Floating values are those of 32 bits, as the pair computes with, so that 5.1 is written as 5.1.
    Where a number is NaN, so is the value, or it is None.
    """
    flat = x.detach().cpu().flatten(1)
    if schema is None:
        values = flat.numpy()
        return {name: values[:, place] for place, name in enumerate(columns)}
    lost = torch.isnan(flat).any(1).numpy()
    found = schema.decode(torch.where(torch.isnan(flat), 0.0, flat))
    table = {name: _plain(cells) for name, cells in found.items()}
    return {name: _without(cells, lost) for name, cells in table.items()}


def categories_of(schema: Schema | None) -> dict[int, int]:
    """Return the numbers of levels of a table's categories, by the place of the feature."""
    if schema is None:
        return {}
    return {
        place: column.count
        for place, column in enumerate(schema.features)
        if isinstance(column, Category)
    }


def features_of(rows: Rows) -> Tensor:
    """Return the rows themselves, `(data, features)`."""
    return rows.batch[0].flatten(1)


def _plain(cells: NDArray[Any]) -> NDArray[Any]:
    return cells.astype(np.float32) if cells.dtype == np.float64 else cells


def _without(cells: NDArray[Any], lost: NDArray[np.bool_]) -> NDArray[Any]:
    if not lost.any():
        return cells
    if cells.dtype.kind in "biu":
        cells = cells.astype(np.float64 if cells.dtype.kind != "b" else object)
    cells = cells.copy()
    if cells.dtype.kind == "M":
        cells[lost] = np.datetime64("NaT")
    else:
        cells[lost] = None if cells.dtype == object else np.nan
    return cells
