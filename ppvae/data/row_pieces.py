"""Pieces of consecutive rows, which stand for many rows in little memory."""

from collections.abc import Iterator, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]

_RUNS = 64  # of consecutive rows in a sample


def spread(rows: int, count: int) -> Numbers:
    """Return the places of `count` rows, spread evenly over all in 64 runs of consecutive ones.

    They are fewer by less than 64, and all if there are no more.

    Example:
        >>> spread(1000, 130)[:4].tolist(), len(spread(1000, 130)), len(spread(10, 20))
        ([0, 1, 15, 16], 128, 10)
    """
    if count >= rows:
        return np.arange(rows, dtype=np.int64)
    runs = min(_RUNS, count)
    length = count // runs
    starts = np.linspace(0, rows - length, runs).astype(np.int64)
    found: Numbers = (starts[:, None] + np.arange(length)).ravel()
    return found


@final
class RowPieces:
    """Some rows of many, in an order, as pieces of consecutive ones.

    Args:
        bounds: the number of the first row of each piece and of the row behind its last one,
            `(piece, 2)`; no piece is empty.

    Example:
        >>> pieces = RowPieces([(10, 12), (5, 8)])
        >>> len(pieces), pieces.numbers(np.arange(5)).tolist()
        (5, [10, 11, 5, 6, 7])
    """

    def __init__(self, bounds: Sequence[tuple[int, int]] | NDArray[Any]) -> None:
        self.bounds: Numbers = np.asarray(bounds, dtype=np.int64).reshape(-1, 2)
        self._ends: Numbers = np.cumsum(self.bounds[:, 1] - self.bounds[:, 0])

    @classmethod
    def of_numbers(cls, numbers: Numbers) -> "RowPieces":
        """Return the pieces of rows that are given by their numbers, in that order."""
        breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
        runs = [run for run in np.split(numbers, breaks) if len(run)]
        return cls([(int(run[0]), int(run[-1]) + 1) for run in runs])

    @classmethod
    def joined(cls, parts: Sequence["RowPieces"]) -> "RowPieces":
        """Return all pieces of several."""
        return cls(np.concatenate([part.bounds for part in parts]))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """Yield of each piece first row, the row behind the last, and the place of the first."""
        for (begin, end), last in zip(self.bounds.tolist(), self._ends.tolist(), strict=True):
            yield begin, end, last - (end - begin)

    def numbers(self, places: Numbers) -> Numbers:
        """Return the numbers of the rows at places, which count from 0."""
        piece = np.searchsorted(self._ends, places, "right")
        found: Numbers = self.bounds[piece, 1] - (self._ends[piece] - places)
        return found

    def run(self, place: int) -> tuple[int, int]:
        """Return the number of the row at a place, and how many of its piece are left there."""
        piece = int(np.searchsorted(self._ends, place, "right"))
        left = int(self._ends[piece]) - place
        return int(self.bounds[piece, 1]) - left, left

    def between(self, start: int, stop: int) -> "RowPieces":
        """Return the pieces of the rows at the places from `start` to before `stop`."""
        begins = self._ends - (self.bounds[:, 1] - self.bounds[:, 0])
        first, last = begins.clip(min=start), self._ends.clip(max=stop)
        kept = first < last
        offset = self.bounds[kept, 0] - begins[kept]
        return RowPieces(np.stack([first[kept] + offset, last[kept] + offset], axis=1))
