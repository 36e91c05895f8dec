"""The cells of a row that are unusual for their column, in the user's units."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.reports.page.numbers import general

_SHARE = 0.05  # of training rows, below which a value is unusual
_MOST = 4  # cells that are named of a row
_ROWS = 20_000  # of the training that are compared with


def unusual_cells(dataset: Dataset, x: NDArray[Any], known: NDArray[np.bool_]) -> list[str]:
    """Say for each row which of its cells are unusual, the most unusual first.

    A number is unusual where fewer than 5 % of training rows are as low or as high, a level where
    fewer have it.

    Args:
        dataset: the data.
        x: rows, `(rows, features)`.
        known: which cells are known, of the same shape.
    """
    train = dataset.train[:_ROWS].flatten(1).cpu().double().numpy()
    seen = np.ones_like(train, dtype=bool)
    if dataset.seen:
        seen = dataset.seen["train"][:_ROWS].flatten(1).cpu().numpy() > 0
    found: list[list[tuple[float, str]]] = [[] for _ in x]
    for place, name in enumerate(column_names(dataset)):
        values, cells = train[seen[:, place], place], texts_of(dataset, x, place)
        if not len(values):
            continue
        levels = is_level(dataset, place)
        for row in np.flatnonzero(known[:, place]):
            value = x[row, place]
            if levels:
                share, how = float((values == value).mean()), "of rows"
            else:
                low, high = float((values <= value).mean()), float((values >= value).mean())
                share, how = (low, "lowest") if low < high else (high, "highest")
            if share < _SHARE:
                found[row].append((share, f"{name} {cells[row]} ({_of(share, how)})"))
    return ["; ".join(text for _, text in sorted(each)[:_MOST]) for each in found]


def column_names(dataset: Dataset) -> Sequence[str]:
    """Return the names of the columns, numbered where they have none."""
    count = dataset.event_shape.numel()
    return dataset.columns if len(dataset.columns) == count else [f"x_{n}" for n in range(count)]


def is_level(dataset: Dataset, place: int) -> bool:
    """Tell whether a column holds levels, which have no order."""
    from ppvae.data.tabular import Binary, Category

    schema = dataset.schema
    return schema is not None and isinstance(schema.features[place], Binary | Category)


def texts_of(dataset: Dataset, x: NDArray[Any], place: int) -> list[str]:
    """Return the cells of a column as the user writes them."""
    values = x[:, place]
    if dataset.schema is not None:
        values = dataset.schema.features[place].decode(np.nan_to_num(values))
    return [_text(value) for value in np.asarray(values).tolist()]


def _text(value: Any) -> str:
    return general(value) if isinstance(value, float) else str(value)


def _of(share: float, how: str) -> str:
    if share == 0:
        return "beyond all training rows" if how != "of rows" else "in no training row"
    percent = f"{100 * share:.0f} %" if share >= 0.01 else "under 1 %"
    return f"{percent} of rows" if how == "of rows" else f"{how} {percent}"
