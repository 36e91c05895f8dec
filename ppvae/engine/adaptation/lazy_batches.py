"""Data whose rows are read when they are asked for, as the batch of a pair."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from torch import Tensor

from ppvae.data import Dataset, LazyRows, rows_of_map
from ppvae.engine.adaptation.arguments import batch_of
from ppvae.engine.adaptation.forms import Form
from ppvae.engine.batches import Batch, as_tensor, check_finite, takes_gaps

_ROWS = 128  # on which it is seen what a pair makes of them


def lazy_parts(data: Any, split: str, pair: Any = None) -> tuple[Any, ...] | None:
    """Return what a pair is called with, if some of it are rows that are read when asked for.

    So are those of an `np.memmap`, where all arrays have as many rows and these are the first
    dimension of the pair's data.

    Args:
        data: a dataset, array or tensor, or a tuple of these.
        split: the part of a dataset that is taken.
        pair: the pair.
    """
    given = data.batch(split) if isinstance(data, Dataset) else data
    parts = given if isinstance(given, tuple) else (given,)
    if any(isinstance(part, LazyRows) for part in parts):
        return tuple(part if isinstance(part, LazyRows) else as_tensor(part) for part in parts)
    maps = [rows_of_map(part) for part in parts]
    if all(rows is None for rows in maps) or getattr(pair, "data_dim", 0) != 0:
        return None
    if not all(isinstance(part, Tensor | np.ndarray) and part.ndim for part in parts):
        return None
    if len({len(part) for part in parts}) > 1:
        return None
    return tuple(
        as_tensor(part) if rows is None else rows for part, rows in zip(parts, maps, strict=True)
    )


def lazy_batch(pair: Any, parts: tuple[Any, ...], argument: str = "data") -> tuple[Batch, Form]:
    """Return rows on the pair's device and in its dtype, those that are unread still so.

    Args:
        pair: the pair.
        parts: what it is called with; tensors and `LazyRows`.
        argument: what to call them in an error.

    Raises:
        TypeError: if the pair takes another number of tensors.
        ValueError: if their numbers of rows differ, or the first ones cannot be used.
    """
    rows = [len(part) for part in parts]
    if len(set(rows)) > 1:
        raise ValueError(
            f"{argument} holds tensors of {rows} rows; expected the same number in each"
        )
    few = tuple(part[:_ROWS] for part in parts)
    example, form = batch_of(pair, (few, {}), argument=argument)
    moved = tuple(
        part.mapped(_to(like, argument, gaps=not place and takes_gaps(pair)))
        if isinstance(part, LazyRows)
        else part.to(like)
        for place, (part, like) in enumerate(zip(parts, example, strict=True))
    )
    return cast(Batch, moved), form


def _to(like: Tensor, argument: str, gaps: bool) -> Callable[[Tensor], Tensor]:
    """Return what moves rows to the device and dtype of a tensor."""
    device, dtype = like.device, like.dtype

    def moved(rows: Tensor) -> Tensor:
        there = rows.to(device=device, dtype=dtype)
        if rows.is_floating_point() and rows.dtype.itemsize > dtype.itemsize:
            check_finite(there, f"{argument} in the pair's {dtype}", gaps)
        return there

    return moved
