"""What a pair is trained with: the form of the rows, checked, and some of them held out."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.data import Dataset, Schema, Standardization, inferred_schema
from ppvae.data.tabular import as_frame
from ppvae.estimators.forms import Form, Numbers, Table, library_of

_LOG = logging.getLogger(__name__)
_FEWEST = 50  # rows of which some are held out
_LOST = 1e-3  # of a feature's standard deviation: the rounding that is too much


def form_of(
    rows: Any, schema: str | Path | Schema | None, types: Mapping[str, str] | None
) -> tuple[Form, tuple[str, ...]]:
    """Return the form of rows, and what was decided about a frame, a sentence each.

    Args:
        rows: an array or a frame.
        schema: what the columns of a frame hold, or its file; found by default.
        types: the types of some columns.

    Raises:
        ValueError: if an array is given with a schema or types, or the rows are not valid.
    """
    if isinstance(rows, np.ndarray):
        for name, value in (("schema", schema), ("types", types)):
            if value is not None:
                raise ValueError(f"{name} is for a frame, got it with an array")
        return Numbers.of(rows), ()
    found, notes = inferred_schema(rows, schema=schema, types=types)
    for note in notes:
        _LOG.warning(note)
    return Table(found, tuple(as_frame(rows, "X")[0]), library_of(rows)), notes


def check_rows(form: Form, x: Tensor, seen: Tensor) -> None:
    """Refuse rows that a pair cannot be trained with, which is done with 32-bit numbers.

    Raises:
        ValueError: if a row has no known cell, or rounding loses the differences of a feature.
    """
    unknown = (seen.sum(1) == 0).nonzero().flatten()
    if len(unknown):
        raise ValueError(f"row {int(unknown[0])} of X has no known cell; remove such rows")
    lost = (x.float().double() - x).abs().amax(0)
    bad = (lost > _LOST * Standardization.of(x).scale).nonzero().flatten()
    if len(bad):
        raise ValueError(
            f"the values of {form.name(int(bad[0]))} of X differ by too little, or are too large, "
            "for 32-bit numbers; subtract a constant from them and divide by one, as "
            "StandardScaler does"
        )


def split(form: Form, x: Tensor, seen: Tensor | None, fraction: float, seed: int) -> Dataset:
    """Hold out a fraction of the rows for validation if there are enough.

    Args:
        form: that of the rows.
        x: their numbers, `(data, features)`.
        seen: which of these are known; None if all are.
        fraction: of the rows that are held out.
        seed: of the draw of these rows.
    """
    count = int(len(x) * fraction) if len(x) >= _FEWEST else 0
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    rows = {"validation": order[:count], "train": order[count:], "test": order[:0]}
    dataset = Dataset(
        name="X",
        train=x[rows["train"]],
        validation=x[rows["validation"]],
        test=x[rows["test"]],
        support=form.support(x),
        rows=rows,
        columns=tuple(form.name(place) for place in range(len(form))),
    )
    if seen is None:
        return dataset
    return replace(dataset, seen={part: seen[index].to(x) for part, index in rows.items()})
