"""Columns that repeat another, as they are or in other units."""

import numpy as np
from numpy.typing import NDArray

from ppvae.data.tabular.cells import Frame
from ppvae.data.tabular.columns import Column, Positive, Real

_LOOKED_AT = 1000  # rows by which a column in other units is suspected
_MOST = 2000  # columns that are compared two by two
_ALIKE = 1e-10  # what the correlation lacks of 1
_EQUAL = 1e-4  # standard deviations


def find_copies(columns: list[Column], frame: Frame) -> dict[str, str]:
    """Return the columns that repeat another one, each with what it repeats.

    Between them a density could grow without bound.

    Args:
        columns: columns of numbers that are known, of any kind.
        frame: their cells.
    """
    numbers = [column.encode(frame[column.name]) for column in columns]
    copies: dict[str, str] = {}
    seen: dict[int, list[int]] = {}
    for place, (column, values) in enumerate(zip(columns, numbers, strict=True)):
        alike = seen.setdefault(hash(values.tobytes()), [])
        first = next(
            (n for n in alike if np.array_equal(numbers[n], values, equal_nan=True)), None
        )
        if first is None:
            alike.append(place)
        else:
            copies[column.name] = f"it repeats column {columns[first].name!r}"
    free = [(n, c) for n, c in enumerate(columns) if c.name not in copies]
    left = [n for n, column in free if isinstance(column, Real | Positive)]

    for one, other in _in_other_units([numbers[n] for n in left]):
        name = columns[left[other]].name
        copies.setdefault(name, f"it is column {columns[left[one]].name!r} in other units")
    return copies


def _in_other_units(numbers: list[NDArray[np.float64]]) -> list[tuple[int, int]]:
    """Return pairs of columns of which one is a multiple of the other, but for a constant."""
    if not 2 <= len(numbers) <= _MOST:
        return []
    step = max(1, len(numbers[0]) // _LOOKED_AT)
    rows = np.array([_standardized(values[::step]) for values in numbers])
    near = np.abs(rows @ rows.T) / rows.shape[1] > 1 - _ALIKE
    found = []
    for one, other in np.argwhere(np.triu(near, 1)).tolist():
        if np.array_equal(np.isnan(numbers[one]), np.isnan(numbers[other])):
            a, b = _standardized(numbers[one]), _standardized(numbers[other])
            if min(np.abs(a - b).max(), np.abs(a + b).max()) < _EQUAL:
                found.append((one, other))
    return found


def _standardized(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values of mean square 1 over all rows, 0 where they are missing."""
    known = np.isfinite(values)
    largest = np.abs(values[known]).max(initial=0.0)
    if largest == 0:
        return np.zeros_like(values)
    shares = np.where(known, values, 0.0) / largest  # whose sum is never too large
    gaps = np.where(known, shares - shares[known].mean(), 0.0)
    largest = np.abs(gaps).max()
    gaps = gaps / largest if largest > 0 else gaps
    spread = np.sqrt((gaps**2).mean())
    return gaps / spread if spread > 0 else gaps
