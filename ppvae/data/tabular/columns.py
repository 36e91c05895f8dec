"""What one column of a table holds: its values as numbers, and numbers as its values."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch.distributions import constraints

from ppvae.data.supports import categories, open_unit_interval
from ppvae.data.tabular.cells import Cells, codes_of, distinct_cells, is_missing
from ppvae.data.tabular.dates import are_dates

OTHER = "(other)"
"""The level of a category that stands for the rare and the unseen ones."""


@dataclass(frozen=True)
class Column(ABC):
    """A column that is modeled, as one feature.

    Args:
        name: its name.
        missing: values that stand for a missing one, besides empty cells and NaN.
    """

    name: str
    missing: tuple[Any, ...] = ()

    filling: ClassVar[float] = 0.0
    """A number of the support, which stands where a cell is missing."""

    @property
    @abstractmethod
    def support(self) -> constraints.Constraint:
        """The numbers that stand for its values."""

    @property
    def values(self) -> str:
        """What its values are, in words."""
        return "numbers"

    def encode(self, cells: Cells) -> NDArray[np.float64]:
        """Return the number of each cell, `(data,)`, NaN where it is missing.

        Raises:
            ValueError: if a cell is not of the column's kind.
        """
        numbers = self._numbers(cells)
        for value in self.missing:
            if isinstance(value, int | float):
                numbers[numbers == value] = np.nan
        self._check(cells, numbers)
        return numbers

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the value that each number stands for, `(*,)`."""
        return numbers

    def _numbers(self, cells: Cells) -> NDArray[np.float64]:
        import pandas

        if cells.dtype.kind in "biuf":
            return cells.astype(np.float64)
        places, distinct = distinct_cells(cells)
        kept = pandas.Series(distinct, dtype=object)
        kept = kept.mask(kept.isin([value for value in self.missing if isinstance(value, str)]))
        numbers = pandas.to_numeric(kept, errors="coerce")
        wrong = (numbers.isna() & kept.notna()).to_numpy()
        if wrong.any():
            self._refuse(cells, np.append(wrong, False)[places], self.values)
        values: NDArray[np.float64] = np.append(numbers.to_numpy(np.float64), np.nan)[places]
        return values

    def _check(self, cells: Cells, numbers: NDArray[np.float64]) -> None:
        """Refuse numbers outside the support."""
        if np.isinf(numbers).any():
            self._refuse(cells, np.isinf(numbers), "finite numbers")

    def _refuse(self, cells: Cells, wrong: NDArray[np.bool_], expected: str) -> None:
        row = int(wrong.argmax())
        raise ValueError(
            f"column {self.name!r} holds {str(cells[row])[:40]!r} in data row {row + 1}; expected "
            f"{expected}: correct the cell, or the type of the column"
        )


@dataclass(frozen=True)
class Real(Column):
    """Any number.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
        whole: whether all values are whole.

    Example:
        >>> Real("year", whole=True).decode(np.array([1990.2]))
        array([1990])
    """

    whole: bool = False

    @property
    def support(self) -> constraints.Constraint:
        """The real line."""
        return constraints.real

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the numbers, rounded where all values are whole."""
        return _whole(numbers) if self.whole else numbers


@dataclass(frozen=True)
class Positive(Column):
    """Positive numbers, of which a few are much larger than the others.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
        whole: whether all values are whole.
    """

    whole: bool = False
    filling: ClassVar[float] = 1.0

    @property
    def support(self) -> constraints.Constraint:
        """The positive numbers."""
        return constraints.positive

    @property
    def values(self) -> str:
        """What its values are, in words."""
        return "positive numbers"

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the numbers, rounded where all values are whole."""
        return np.maximum(_whole(numbers), 1) if self.whole else numbers

    def _check(self, cells: Cells, numbers: NDArray[np.float64]) -> None:
        super()._check(cells, numbers)
        if (numbers <= 0).any():
            self._refuse(cells, numbers <= 0, self.values)


@dataclass(frozen=True)
class Count(Column):
    """Whole numbers from 0.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
    """

    @property
    def support(self) -> constraints.Constraint:
        """The whole numbers from 0."""
        return constraints.nonnegative_integer

    @property
    def values(self) -> str:
        """What its values are, in words."""
        return "whole numbers from 0"

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the nearest whole numbers."""
        return _whole(np.maximum(numbers, 0))

    def _check(self, cells: Cells, numbers: NDArray[np.float64]) -> None:
        super()._check(cells, numbers)
        wrong = (numbers < 0) | (numbers != np.floor(numbers)) & ~np.isnan(numbers)
        if wrong.any():
            self._refuse(cells, wrong, self.values)


@dataclass(frozen=True)
class Proportion(Column):
    """Numbers between 0 and 1.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
        ends: whether 0 and 1 themselves occur.
    """

    ends: bool = False
    filling: ClassVar[float] = 0.5

    @property
    def support(self) -> constraints.Constraint:
        """[0, 1] or (0, 1)."""
        return constraints.unit_interval if self.ends else open_unit_interval

    @property
    def values(self) -> str:
        """What its values are, in words."""
        return "numbers from 0 to 1" if self.ends else "numbers above 0 and below 1"

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the numbers, within [0, 1]."""
        return np.clip(numbers, 0.0, 1.0)

    def _check(self, cells: Cells, numbers: NDArray[np.float64]) -> None:
        super()._check(cells, numbers)
        ends = self.ends
        wrong = (
            (numbers < 0) | (numbers > 1) | (~np.array(ends) & ((numbers == 0) | (numbers == 1)))
        )
        if wrong.any():
            self._refuse(cells, wrong, self.values)


@dataclass(frozen=True)
class Category(Column):
    """One of several levels without order, numbered from 0.

    Rows of a level that is not listed have the level `(other)` if `other` is true; otherwise the
    cell counts as missing.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
        levels: all levels.
        other: whether there is one more level, for all that are not listed.

    Example:
        >>> color = Category("color", levels=("blue", "red"))
        >>> color.encode(np.array(["red", "blue"], dtype=object)), color.decode(np.array([1.0]))
        (array([1., 0.]), array(['red'], dtype=object))
    """

    levels: tuple[Any, ...] = ()
    other: bool = False

    @property
    def count(self) -> int:
        """How many levels there are."""
        return len(self.levels) + self.other

    @property
    def support(self) -> constraints.Constraint:
        """The numbers of the levels."""
        return categories(self.count)

    @property
    def values(self) -> str:
        """What its values are, in words."""
        shown = ", ".join(str(level) for level in self.levels[:6])
        return f"{self.count} levels: {shown}" + (", ..." if len(self.levels) > 6 else "")

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the level of each number."""
        levels = [*self.levels, OTHER] if self.other else list(self.levels)
        table = np.array(levels, dtype=object)
        if all(type(level) is type(levels[0]) for level in levels) and not isinstance(
            levels[0], str
        ):
            table = np.array(levels)
        return table[np.clip(np.rint(numbers), 0, len(levels) - 1).astype(np.int64)]

    def _numbers(self, cells: Cells) -> NDArray[np.float64]:
        codes = codes_of(cells, self.levels)
        unlisted = (codes < 0) & ~is_missing(cells, self.missing)
        numbers = codes.astype(np.float64)
        numbers[codes < 0] = np.nan
        if self.other:
            numbers[unlisted] = len(self.levels)
        return numbers


@dataclass(frozen=True)
class Binary(Category):
    """One of two levels, numbered 0 and 1.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
        levels: both levels.
        other: whether there is one more level; there is none.
    """

    @property
    def support(self) -> constraints.Constraint:
        """0 and 1."""
        return constraints.boolean

    @property
    def values(self) -> str:
        """What its values are, in words."""
        return " or ".join(str(level) for level in self.levels)


@dataclass(frozen=True)
class Date(Column):
    """Dates, as days since the beginning of 1970.

    Args:
        name: the column's name.
        missing: values that stand for a missing one.
        whole: whether there are no times of day.
        day_first: whether the day stands before the month, as in 31/12/2024.
    """

    whole: bool = True
    day_first: bool = False

    @property
    def support(self) -> constraints.Constraint:
        """The real line."""
        return constraints.real

    @property
    def values(self) -> str:
        """What its values are, in words."""
        return "dates, as days"

    def decode(self, numbers: NDArray[np.float64]) -> Cells:
        """Return the dates, to the day or to the second."""
        seconds = np.rint(np.rint(numbers) * 86400 if self.whole else numbers * 86400)
        dates = seconds.astype(np.int64).astype("datetime64[s]")
        return dates.astype("datetime64[D]") if self.whole else dates

    def _numbers(self, cells: Cells) -> NDArray[np.float64]:
        import pandas

        kept = pandas.Series(cells)
        if cells.dtype.kind in "iuf":
            numbers = cells.astype(np.float64)
            if not are_dates(numbers[~np.isnan(numbers)]):
                return numbers  # of a schema that is applied to days
            kept, form = kept.astype("Int64").astype(str), "%Y%m%d"
        else:
            form = "mixed"
        dates = pandas.to_datetime(
            kept, errors="coerce", format=form, utc=True, dayfirst=self.day_first
        )
        wrong = dates.isna() & ~is_missing(cells, self.missing)
        if wrong.any():
            self._refuse(cells, wrong.to_numpy(), "dates such as 2024-12-31")
        seconds = (dates - pandas.Timestamp(0, tz="UTC")).dt.total_seconds()
        return np.array(seconds / 86400, dtype=np.float64)


KINDS: dict[str, type[Column]] = {
    "real": Real,
    "positive": Positive,
    "count": Count,
    "proportion": Proportion,
    "binary": Binary,
    "category": Category,
    "date": Date,
}
"""The types that a schema may name."""


def _whole(numbers: NDArray[np.float64]) -> Cells:
    rounded = np.rint(numbers)
    return rounded if np.isnan(rounded).any() else rounded.astype(np.int64)
