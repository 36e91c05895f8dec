"""One datapoint's failure is that datapoint's: the others are measured, and it is named."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.engine import Batch, Pair, on_sound_rows

_NAMED = 10  # rows in a warning

T = TypeVar("T", xr.Dataset, xr.DataArray)
Result = TypeVar("Result")


def by_row(pair: Pair, batch: Batch, measure: Callable[[Batch], T]) -> T:
    """Measure each datapoint; those that the pair fails on are NaN, and a warning names them.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        measure: is called with them, or with those that the pair can be run on; what it returns
            has the dim `data`.

    Raises:
        Exception: what `measure` raises, if the pair fails on all datapoints.
    """
    measured, rows, failure = on_sound_rows(pair, batch, measure)
    if failure is None:
        return measured
    every = np.arange(len(batch[0]))
    warn_of_rows(np.setdiff1d(every, rows.numpy()), len(every), failure)
    spread = measured.assign_coords(data=rows.numpy()).reindex(data=every).drop_vars("data")
    if isinstance(measured, xr.Dataset):
        for name, value in measured.items():
            if value.dtype == bool:
                spread[name] = spread[name].fillna(False).astype(bool)
    return spread


def of_the_others(pair: Pair, batch: Batch, measure: Callable[[Batch], Result]) -> Result:
    """Measure all datapoints together, without those that the pair fails on.

    A warning names them. The arguments are those of `by_row`.
    """
    measured, rows, failure = on_sound_rows(pair, batch, measure)
    if failure is not None:
        count = len(batch[0])
        warn_of_rows(np.setdiff1d(np.arange(count), rows.numpy()), count, failure)
    return measured


def warn_of_rows(failed: NDArray[np.int64], count: int, reason: str) -> None:
    """Name the datapoints that could not be measured."""
    names = ", ".join(map(str, failed[:_NAMED])) + (", ..." if len(failed) > _NAMED else "")
    warnings.warn(
        f"{len(failed)} of {count} datapoints could not be measured, row {names}: {reason}",
        stacklevel=4,
    )
