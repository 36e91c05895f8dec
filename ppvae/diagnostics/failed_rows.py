"""One datapoint's failure is that datapoint's: the others are measured, and it is named."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ppvae.diagnostics.names import Names
from ppvae.engine import (
    Adapted,
    Batch,
    Pair,
    first_line,
    on_sound_rows,
    rows_at,
    some_rows,
    sound_rows,
    structure_of,
)

_NAMED = 10  # rows in a warning
_TRIES = 200  # runs that look for datapoints without a density
UNNAMED = Names()

T = TypeVar("T", xr.Dataset, xr.DataArray)
Result = TypeVar("Result")


def by_row(pair: Pair, batch: Batch, measure: Callable[[Batch], T], names: Names = UNNAMED) -> T:
    """Measure each datapoint; those that the pair fails on are NaN, and a warning names them.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        measure: is called with them, or with those that the pair can be run on; what it returns
            has the dim `data`.
        names: what the datapoints are called.

    Raises:
        Exception: what `measure` raises, if the pair fails on all datapoints.
    """
    measured, rows, failure = on_sound_rows(pair, batch, measure)
    if isinstance(pair, Adapted):
        measured.attrs.update(pair.shared.attributes)
    if failure is None:
        return names.on(measured)
    count = len(batch[0])
    warn_of_rows(np.setdiff1d(np.arange(count), rows.numpy()), count, failure, names)
    return names.on(_spread(measured, rows.numpy(), count))


def of_the_others(
    pair: Pair, batch: Batch, measure: Callable[[Batch], Result], names: Names = UNNAMED
) -> Result:
    """Measure all datapoints together, without those that the pair fails on.

    A warning names them. The arguments are those of `by_row`.
    """
    measured, rows, failure = on_sound_rows(pair, batch, measure)
    if failure is not None:
        count = len(batch[0])
        warn_of_rows(np.setdiff1d(np.arange(count), rows.numpy()), count, failure, names)
    return measured


def warn_of_rows(
    failed: NDArray[np.int64], count: int, reason: str, names: Names = UNNAMED
) -> None:
    """Name the datapoints that could not be measured, by their places among `count`."""
    known = names if names.rows is None or len(names.rows) == count else UNNAMED
    shown = known.shown(failed[:_NAMED]) + (", ..." if len(failed) > _NAMED else "")
    warnings.warn(
        f"{len(failed)} of {count} datapoints could not be measured, row {shown}: {reason}",
        stacklevel=4,
    )


@dataclass(frozen=True)
class SoundRows:
    """The datapoints that a pair can be run on.

    Args:
        batch: those datapoints.
        rows: their row numbers.
        count: number of all datapoints.
        names: what all of them are called.
    """

    batch: Batch
    rows: NDArray[np.int64]
    count: int
    names: Names = UNNAMED

    def spread(self, measured: T) -> T:
        """Return what was measured of them, dim `data`, with NaN for the others."""
        if self.count > len(self.rows):
            measured = _spread(measured, self.rows, self.count)
        return self.names.on(measured)

    def filled(self, values: NDArray[Any], axis: int) -> NDArray[Any]:
        """Return numbers of them, along `axis`, with NaN for the others."""
        if len(self.rows) == self.count:
            return values
        moved = np.moveaxis(values, axis, 0)
        whole = np.full((self.count, *moved.shape[1:]), np.nan, np.result_type(values, np.float32))
        whole[self.rows] = moved
        return np.moveaxis(whole, 0, axis)


def sound(pair: Pair, batch: Batch, names: Names = UNNAMED) -> SoundRows:
    """Find the datapoints that the pair can be run on, by a run; a warning names the others.

    For what takes long, or measures all datapoints together. Where the pair fails on all of them
    they are all returned, so that its error comes up.
    """
    count, rows = len(batch[0]), sound_or_all(pair, batch)
    if len(rows) == count:
        return SoundRows(batch, rows.numpy(), count, names)
    failed = np.setdiff1d(np.arange(count), rows.numpy())
    reason = "the parameters of the pair's distributions are not valid there"
    warn_of_rows(failed, count, reason, names)
    return SoundRows(some_rows(batch, rows), rows.numpy(), count, names)


def in_support(pair: Pair, kept: SoundRows) -> SoundRows:
    """Leave out datapoints that have no density under the model; a warning names them.

    Where none has one they are all returned, so that the refusal comes up.
    """
    good: list[torch.Tensor] = []
    reason, tries = "", 0

    def search(rows: torch.Tensor) -> None:
        nonlocal reason, tries
        tries += 1
        try:
            found = [*structure_of(pair, rows_at(kept.batch, rows)).unnormalized.values()]
        except ValueError as error:
            found = [first_line(error)]
        if not found:
            good.append(rows)
            return
        reason = found[0]
        if len(rows) > 1 and tries < _TRIES:
            for half in rows.tensor_split(2):
                search(half)

    search(torch.arange(len(kept.rows)))
    rows = torch.cat(good).sort().values if good else torch.arange(len(kept.rows))
    if len(rows) == len(kept.rows):
        return kept
    whole = kept.rows[rows.numpy()]
    warn_of_rows(np.setdiff1d(kept.rows, whole), kept.count, reason, kept.names)
    return SoundRows(rows_at(kept.batch, rows), whole, kept.count, kept.names)


def sound_or_all(pair: Pair, batch: Batch) -> torch.Tensor:
    """Return the rows that the pair can be run on; all of them if it is none, or refused."""
    with suppress(Exception):  # it comes up again when the pair is measured
        found = sound_rows(pair, batch)
        if len(found):
            return found
    return torch.arange(len(batch[0]))


def _spread(measured: T, rows: NDArray[np.int64], count: int) -> T:
    spread = measured.assign_coords(data=rows).reindex(data=np.arange(count)).drop_vars("data")
    if isinstance(measured, xr.Dataset):
        for name, value in measured.items():
            if value.dtype == bool:
                spread[name] = spread[name].fillna(False).astype(bool)
    return spread
