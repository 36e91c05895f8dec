"""Finds what a column of numbers holds."""

import re
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ppvae.data.tabular.cells import Cells
from ppvae.data.tabular.columns import Binary, Category, Column, Count, Positive, Proportion, Real
from ppvae.data.tabular.dates import are_dates
from ppvae.data.tabular.findings import Findings
from ppvae.data.tabular.sentinels import only_negative, sentinels

CODES = 10
"""Numbers of at most so many values are codes of levels."""

LEVELS = 50
"""So many values of a column may be levels."""

_ROWS_PER_CODE = 3  # of so many rows at least, each
_SAMPLE = 10_000  # values by which it is seen that there are many
_SMALL = 20  # the highest of whole numbers that are never real ones
_NEAR = 0.25  # of their mean: the lowest of counts
_END = 0.1  # proportions come so near 0 and 1
_SKEWED = 1.0  # skewness
_NAMES = re.compile(
    r"(^|[_\s.-])(id|ids|identifier|index|idx|row|rowid|rownames?|uuid|key|nr|no|number|obs)$"
)
_EXACT = 2**53  # above which a number of double precision is not exact
_SMALLEST, _LARGEST = 1e-37, 3e38  # of 32-bit numbers
_LOST = 1e-3  # of the standard deviation: the rounding to 32 bits that is too much
_UNNAMED = re.compile(r"(Unnamed: 0(\.\d+)?|column \d+|rownames|)")


def find_numbers(
    found: Findings,
    name: str,
    cells: Cells,
    kind: str | None,
    suspect: bool,
    missing: tuple[Any, ...],
) -> None:
    """Find what a column of numbers holds.

    Args:
        found: where to add it.
        name: the column's name.
        cells: its numbers, NaN where they are missing.
        kind: its type, if that is given.
        suspect: whether values such as -999 may stand for missing ones.
        missing: what stands for missing ones in any case.

    Raises:
        ValueError: if a value is infinite or is lost in 32 bits, the numbers are dates, or they
            do not fit the type.
    """
    known = cells if cells.dtype.kind in "biu" else cells[~np.isnan(cells)]
    for value in missing:
        known = known[known != value] if isinstance(value, int | float) else known
    if cells.dtype.kind == "f" and np.isinf(known).any():
        raise ValueError(
            f"column {name!r} holds infinite values, the first in data row "
            f"{int(np.isinf(cells).argmax()) + 1}; correct them, or leave them empty"
        )
    if suspect and kind is None and cells.dtype.kind != "b":
        stand_ins = sentinels(known)
        if stand_ins:
            shown = ", ".join(f"{value:g}" for value in stand_ins)
            found.notes.append(
                f"column {name!r}: {shown} is far from the other values and repeated, and was "
                "taken as missing; missing=[] takes it as a value"
            )
            missing = (*missing, *stand_ins)
            known = known[~np.isin(known, stand_ins)]
        negative = only_negative(known)
        if negative is not None:
            found.notes.append(
                f"column {name!r}: {negative} is its only negative value; if it stands for a "
                f"missing one, pass missing=[{negative}]"
            )
    distinct = _distinct(known)
    if kind is None:
        if (distinct is None or len(distinct) > 2) and are_dates(known):
            refuse_dates(name, plain_value(known[0]))
        reason = _reason(found, name, cells, known, distinct)
        if reason:
            found.set_aside[name] = reason
            return
    levels = None if distinct is None else tuple(plain_value(value) for value in np.sort(distinct))
    if kind is None:
        found.columns.append(_numeric(name, known, levels, missing))
    else:
        if kind not in ("binary", "category") and (levels is None or len(levels) > CODES):
            _check_digits(name, known.astype(np.float64))
        found.columns.append(_typed(name, kind, known, levels, missing))


def _check_digits(name: str, known: NDArray[np.float64]) -> None:
    """Refuse numbers whose differences 32-bit values lose; a pair computes with these."""
    lowest = np.abs(known[known != 0]).min(initial=1.0)
    if np.abs(known).max() > _LARGEST or lowest < _SMALLEST:
        by = "divide" if lowest >= _SMALLEST else "multiply"
        raise ValueError(
            f"column {name!r} holds a value that 32-bit numbers cannot hold; {by} the column by a "
            "constant"
        )
    lost = np.abs(known.astype(np.float32) - known).max()
    if lost > _LOST * known.std() > 0:
        raise ValueError(
            f"the values of column {name!r} differ by too little for 32-bit numbers: subtract a "
            f"constant from it, or leave it out, types={{{name!r}: 'aside'}}"
        )


def _numeric(
    name: str, known: Cells, levels: tuple[Any, ...] | None, missing: tuple[Any, ...]
) -> Column:
    if levels is not None and len(levels) == 2:
        return Binary(name, missing, levels=levels)
    values = known.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.floor(values)).all())
    if levels is not None and len(levels) <= min(CODES, len(values) / _ROWS_PER_CODE):
        # Of whole numbers codes; at few other numbers a density could grow without bound.
        return Category(name, missing, levels=levels)
    _check_digits(name, values)
    if whole:
        mean = float(values.mean())
        # Counts come near 0 and vary at least as much as those of a Poisson distribution. Of
        # small numbers a density could grow without bound.
        varied = values.var() >= mean * max(0.3, 1 - 4 * (2 / len(values)) ** 0.5)
        if low >= 0 and (high <= _SMALL or (varied and low <= _NEAR * mean)):
            return Count(name, missing)
    if not whole and 0 <= low < _END and 1 - _END < high <= 1:
        return Proportion(name, missing, ends=low == 0 or high == 1)
    if low > 0 and _skewness(values) > max(_SKEWED, 2 * abs(_skewness(np.log(values)))):
        return Positive(name, missing, whole=whole)
    return Real(name, missing, whole=whole)


def _typed(
    name: str,
    kind: str,
    known: Cells,
    levels: tuple[Any, ...] | None,
    missing: tuple[Any, ...],
) -> Column:
    """Return a column of numbers of the type that was asked for."""
    if kind in ("binary", "category"):
        if levels is None:
            levels = tuple(plain_value(value) for value in np.unique(known))
        return of_levels(name, kind, levels, missing)
    values = known.astype(np.float64)
    whole = bool((values == np.floor(values)).all())
    column = {
        "real": Real(name, missing, whole=whole),
        "positive": Positive(name, missing, whole=whole),
        "count": Count(name, missing),
        "proportion": Proportion(name, missing, ends=bool(((values == 0) | (values == 1)).any())),
    }[kind]
    column.encode(values)
    return column


def of_levels(name: str, kind: str, levels: tuple[Any, ...], missing: tuple[Any, ...]) -> Column:
    """Return a column of levels.

    Raises:
        ValueError: if there are too few of them, or too many.
    """
    if len(levels) < 2 or (kind == "binary" and len(levels) != 2):
        raise ValueError(
            f"column {name!r} has {len(levels)} different values; a {kind} column has "
            f"{'2' if kind == 'binary' else 'at least 2'}"
        )
    made = Binary if kind == "binary" else Category
    return made(name, missing, levels=levels)


def _reason(
    found: Findings, name: str, cells: Cells, known: Cells, distinct: Cells | None
) -> str | None:
    """Say why a column of numbers is left out, if it is."""
    if distinct is not None and len(distinct) == 1:
        return f"it has one value, {plain_value(distinct[0])}"
    if len(known) < 3 or len(known) < len(cells):
        return None
    numbers = known.astype(np.float64)
    steps = np.diff(numbers)
    if bool((steps == 1).all()) and numbers[0] in (0, 1):
        return "it counts the rows"
    named = _NAMES.search(name.strip().lower()) or _UNNAMED.fullmatch(name)
    if named and bool((numbers == np.floor(numbers)).all()) and distinct is None:
        if len(np.unique(numbers)) == len(numbers):
            return "its values name the rows, all different"
    exact = cells.dtype.kind not in "iu" or int(np.abs(known).max()) <= _EXACT
    if distinct is None and not exact and len(np.unique(known)) == len(known):
        return "it holds whole numbers of more digits than a number keeps, all different, as names"
    if bool((steps == steps[0]).all()) and len(known) > 20:
        found.notes.append(
            f"column {name!r} rises by {steps[0]:g} from row to row; leave it out if it measures "
            f"nothing: types={{{name!r}: 'aside'}}"
        )
    return None


def _distinct(known: Cells) -> Cells | None:
    """Return the different values, or None if there are many."""
    if len(known) > _SAMPLE:
        first = np.unique(known[:: len(known) // _SAMPLE])
        if len(first) > LEVELS:
            return None
    values = np.unique(known)
    return values if len(values) <= LEVELS else None


def _skewness(values: NDArray[np.float64]) -> float:
    gaps = values - values.mean()
    largest = float(np.abs(gaps).max())
    gaps = gaps / largest if largest > 0 else gaps  # no power is too large or too small then
    spread = float(np.sqrt((gaps**2).mean()))
    return float((gaps**3).mean()) / spread**3 if spread > 0 else 0.0


def plain_value(value: Any) -> Any:
    """Return a value of NumPy as one of Python, whole numbers as such."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value


def refuse_dates(name: str, example: Any) -> NoReturn:
    """Refuse a column of dates, with what to do."""
    raise ValueError(
        f"column {name!r} holds dates such as {str(example)[:40]!r}: types={{{name!r}: 'date'}} "
        f"takes them as days, types={{{name!r}: 'aside'}} leaves them out (--data.types)"
    )
