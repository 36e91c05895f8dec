"""What a check is given, what it returns, and what several of them have in common."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.engine import Batch, Pair

ALARM = 0.01  # family-wise, of each diagnostic


@dataclass(frozen=True)
class Subject:
    """What is looked at, and how closely.

    Args:
        pair: the pair.
        batch: the datapoints chosen.
        rows: which of the user's data these are.
        dataset: of which they are part, if they are.
        effort: how much to compute.
        seed: of all draws.
        progress: show progress bars.
    """

    pair: Pair
    batch: Batch
    rows: NDArray[np.int64]
    dataset: Dataset | None
    effort: Effort
    seed: int
    progress: bool | None


Check = Callable[[Subject], list[Finding]]


def unknown(name: str, error: Exception) -> Finding:
    """Return the finding that a check does not apply, and why."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0]
    return Finding(name, Verdict.UNKNOWN, "does not apply", first)


def all_values(values: xr.Dataset) -> NDArray[np.float64]:
    """Return the values of all variables, one after the other."""
    return np.concatenate([array.values.ravel() for array in values.values()])


def with_error(row: xr.Dataset) -> str:
    """Return a mean and its standard error as text."""
    return f"{float(row['mean']):.2f} +- {float(row['standard_error']):.2f}"
