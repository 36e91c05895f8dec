"""Which datapoints a pair fails on, so that the others are measured all the same."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from ppvae.data import LazyRows
from ppvae.engine.batches import Batch
from ppvae.engine.errors import Unsupported, first_line
from ppvae.engine.execution import run_pair
from ppvae.engine.isolation import isolated
from ppvae.engine.pair import Pair

FAILURES = (ValueError, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What distributions raise that get parameters outside their range, from a single row as well."""

_ROWS = 1024  # rows that are run at once
_TRIES = 200  # runs that fail before one succeeds: then it is not single rows that fail

T = TypeVar("T")


def on_sound_rows(
    pair: Pair, batch: Batch, measure: Callable[[Batch], T]
) -> tuple[T, Tensor, str | None]:
    """Measure all datapoints, or those that the pair can be run on if it fails on some.

    The others have the numbers that they would have without the failed ones.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        measure: is called with them, or with some of them.

    Returns:
        What was measured, the row numbers of the datapoints measured, and what failed on the
        others, or None.

    Raises:
        Exception: what `measure` raises, if the pair fails on all datapoints, or on none alone.
    """
    rows, failure = torch.arange(len(batch[0])), None
    while True:
        part = some_rows(batch, rows) if failure else batch
        try:
            return measure(part), rows, failure
        except Unsupported:
            raise
        except FAILURES as error:
            try:
                sound = sound_rows(pair, part)
            except Unsupported:  # of fewer rows; that of all says more
                raise error from None
            if len(sound) in (0, len(rows)):
                raise
            place = getattr(error, "__notes__", [""])[-1]  # which program, on what
            cause = first_line(error)
            rows, failure = rows[sound], cause if place in cause else f"{cause} {place}"


def sound_rows(pair: Pair, batch: Batch) -> Tensor:
    """Return the numbers of the rows that the pair can be run on, by halving what fails.

    There are none of a pair that runs on no part of the data, as with a plate of fixed size, or
    that fails on data of this shape whatever their values.

    Raises:
        Unsupported: as `run_pair` does.
    """
    found: list[Tensor] = []
    failed = 0

    def search(rows: Tensor) -> None:
        nonlocal failed
        try:
            run_pair(pair, rows_at(batch, rows))
        except Unsupported:
            raise
        except FAILURES:
            failed += 1
            if len(rows) > 1 and (found or failed < _TRIES):
                for half in rows.tensor_split(2):
                    search(half)
        else:
            found.append(rows)

    with isolated(pair, 0):
        for rows in torch.arange(len(batch[0])).split(_ROWS):
            before = len(found)
            search(rows)
            kept = torch.cat([rows[:0], *found[before:]])
            if 0 < len(kept) < len(rows) and not _runs(pair, batch, rows, kept):
                return torch.empty(0, dtype=torch.long)
    return torch.cat(found) if found else torch.empty(0, dtype=torch.long)


def _runs(pair: Pair, batch: Batch, rows: Tensor, kept: Tensor) -> bool:
    """Tell whether as many datapoints as before run, a sound one in place of each that failed."""
    replaced = torch.where(torch.isin(rows, kept), rows, kept[0])
    try:
        run_pair(pair, rows_at(batch, replaced))
    except FAILURES:
        return False
    return True


def some_rows(batch: Batch, rows: Tensor) -> Batch:
    """Return some rows of a batch, those that are unread still so."""
    return tuple(
        part.rows(rows) if isinstance(part, LazyRows) else part[rows.to(part.device)]
        for part in batch
    )


def rows_at(batch: Batch, rows: Tensor) -> Batch:
    """Return some rows of a batch."""
    return tuple(tensor[rows.to(tensor.device)] for tensor in batch)
