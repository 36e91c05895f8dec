"""Tells whether the first row of a table names its columns."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MISSING = frozenset(
    ("", "na", "n/a", "#n/a", "#na", "nan", "-nan", "null", "none", "<na>", "1.#ind", "1.#qnan")
)
"""What stands for a missing value, in small letters."""

_WHOLE = re.compile(r"[+-]?[0-9]+")
_MANY = 5  # names counted from 0 or 1 that are no chance
_CHANCE = 0.1  # share of rows below that are equally spaced by chance
Rows = Sequence[Sequence[str]]


def is_number(text: str) -> bool:
    """Tell whether a field of a table is a number.

    Example:
        >>> is_number(" 1e3"), is_number("1,5"), is_number("1_000")
        (True, False, False)
    """
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def names_columns(path: Path, rows: Rows) -> tuple[bool, str]:
    """Tell whether the first of some rows names the columns; if that needs saying, say so.

    Text names columns. Numbers do where they are unlike the rows below: whole where all below are
    written with a decimal point, far outside their range, or equally spaced as 0, 1, 2.

    Raises:
        ValueError: if a first row of numbers may be both.

    Example:
        >>> below = [["0.3", "0.1"], ["0.2", "0.7"]]
        >>> names_columns(Path("x.csv"), [["a", "b"], *below])
        (True, '')
        >>> names_columns(Path("x.csv"), [["0.5", "0.6"], *below])
        (False, '')
        >>> names_columns(Path("x.csv"), [["2019", "2020"], *below])[0]
        True
    """
    first, below = rows[0], rows[1:]
    if all(_missing(field) for field in first):
        return False, ""
    numbers = [column for column, field in enumerate(first) if is_number(field)]
    texts = [c for c, field in enumerate(first) if c not in numbers and not _missing(field)]
    if not numbers:
        return True, ""
    if not below:
        return False, ""
    look = _Look.of([[row[column] for column in numbers] for row in rows])
    above_numbers = any(all(is_number(row[column]) for row in below) for column in texts)
    label = any(_new_label(first[column], [row[column] for row in below]) for column in texts)
    unnamed = first[0].strip() == ""
    shown = " ".join(", ".join(first).split())  # a field can have lines
    if look.certain or ((above_numbers or label or unnamed) and look.possible):
        note = (
            f"{path}: its first row, {shown:.60}, was taken as the names of the columns; "
            "header=False makes it a datapoint"
        )
        return True, "" if above_numbers else note
    if look.doubtful or label or (unnamed and look.possible):
        raise ValueError(
            f"{path}: its first row, {shown:.60}, may be names of columns or a datapoint; say "
            "which by header=True or header=False, --data.header true or false"
        )
    return False, ""


@dataclass(frozen=True)
class _Look:
    """What speaks for it that the numbers of the first row are names.

    Args:
        count: how many there are.
        distinct: no two are equal.
        spaced: three or more, equally spaced, and few rows below are so.
        counted: they count from 0, or from 1 if there are many.
        whole: whole, where below every number of every column has a decimal point.
        outside: outside the range of every column.
        far: outside by more than that range.
        repeated: a row below is the same.
    """

    count: int
    distinct: bool
    spaced: bool
    counted: bool
    whole: bool
    outside: bool
    far: bool
    repeated: bool

    @classmethod
    def of(cls, rows: Rows) -> "_Look":
        first = [float(field) for field in rows[0]]
        columns = list(zip(*rows[1:], strict=True))
        gaps = []
        for value, column in zip(first, columns, strict=True):
            known = [float(f) for f in column if is_number(f) and math.isfinite(float(f))]
            low, high = min(known, default=math.nan), max(known, default=math.nan)
            gap = max(low - value, value - high)
            gaps.append((gap, high - low))
        steps = _steps(first)
        starts = (0, 1) if len(first) >= _MANY else (0,)
        return cls(
            count=len(first),
            distinct=len(set(first)) == len(first),
            spaced=steps is not None
            and sum(_steps_of(row) == steps for row in rows[1:]) <= _CHANCE * (len(rows) - 1),
            counted=any(first == [start + n for n in range(len(first))] for start in starts),
            whole=all(map(_is_whole, rows[0]))
            and not any(_is_whole(field) for column in columns for field in column),
            outside=all(gap > 0 for gap, _ in gaps),
            far=all(gap > width > 0 for gap, width in gaps),
            repeated=any(_numbers(row) == first for row in rows[1:]),
        )

    @property
    def certain(self) -> bool:
        if not self.distinct:
            return False
        if self.whole and (self.counted or (self.outside and self.count > 1)):
            return True
        return self.spaced and (self.whole or self.outside or (self.counted and self.many))

    @property
    def many(self) -> bool:
        return self.count >= _MANY

    @property
    def possible(self) -> bool:
        return self.distinct and (self.spaced or self.counted or self.whole or self.outside)

    @property
    def doubtful(self) -> bool:
        if not self.distinct:
            return False
        alone = self.counted and not self.repeated
        return self.spaced or self.far or alone or (self.whole and self.count > 1)


def _missing(field: str) -> bool:
    return field.strip().lower() in MISSING


def _is_whole(field: str) -> bool:
    return _WHOLE.fullmatch(field.strip()) is not None


def _steps(values: Sequence[float]) -> float | None:
    """Return the step of three or more equally spaced numbers."""
    if len(values) < 3 or not all(map(math.isfinite, values)):
        return None
    steps = [after - before for before, after in itertools.pairwise(values)]
    size = max(map(abs, values))
    equal = steps[0] != 0 and max(steps) - min(steps) <= 1e-9 * size
    return steps[0] if equal else None


def _numbers(row: Sequence[str]) -> list[float] | None:
    return [float(field) for field in row] if all(map(is_number, row)) else None


def _steps_of(row: Sequence[str]) -> float | None:
    numbers = _numbers(row)
    return None if numbers is None else _steps(numbers)


def _new_label(field: str, below: Sequence[str]) -> bool:
    """Tell whether text stands above other texts that repeat themselves."""
    different = set(below)
    texts = not any(is_number(text) for text in different)
    return texts and field not in different and 2 * len(different) <= len(below)
