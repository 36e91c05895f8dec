"""Finds what each column of a table holds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data.tabular.columns import (
    KINDS,
    Binary,
    Category,
    Cells,
    Column,
    Count,
    Date,
    Frame,
    Positive,
    Proportion,
    Real,
    distinct_cells,
    is_missing,
)

ASIDE = "aside"
"""What the types call a column that is left out."""

_CODES = 10  # whole numbers of at most so many values are codes of levels
_ROWS_PER_CODE = 3  # of so many rows at least, each
_LEVELS = 50  # levels of text
_RARE = 5  # rows of a level, in a column of more than a few levels
_FEW = 12  # levels, of which none is too rare
_SAMPLE = 10_000  # values by which it is seen that there are many
_SMALL = 20  # the highest of whole numbers that are never real ones
_NEAR = 0.25  # of their mean: the lowest of counts
_END = 0.1  # proportions come so near 0 and 1
_SKEWED = 1.0  # skewness
_SENTINELS = (999, 9999, 99999, 999999, 99, 88888, 8888, 888)
_FAR = 1.0  # ranges of the other values between them and a sentinel
_TOKENS = 3  # texts in a column of numbers that stand for missing ones
_NAMES = re.compile(r"(^|[_\s.-])(id|ids|index|idx|row|rowid|rownames?|uuid|key|nr|no|number)$")
_UNNAMED = re.compile(r"(Unnamed: 0(\.\d+)?|column \d+|rownames|)")
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ]\d{1,2}:.*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*"
)
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_YES = {"true": True, "false": False}


@dataclass
class Findings:
    """What was found about the columns of a table.

    Args:
        columns: those that are modeled.
        set_aside: those that are not, each with the reason.
        notes: what else is to be said, one sentence each.
        names: the column that names the rows, if one was found.
    """

    columns: list[Column] = field(default_factory=list)
    set_aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: str | None = None


def find_columns(
    frame: Frame, types: Mapping[str, str], suspect: bool, missing: Sequence[Any]
) -> Findings:
    """Find what each column of a table holds.

    Args:
        frame: the columns by name.
        types: the types of some of them, by name.
        suspect: whether values such as -999 may stand for missing ones.
        missing: what stands for missing ones in any case.

    Raises:
        ValueError: if a type is unknown or does not fit, or a column holds dates.
    """
    found = Findings()
    for name, cells in frame.items():
        kind = types.get(name)
        if kind == ASIDE:
            found.set_aside[name] = "as was asked for"
            continue
        _find(found, name, cells, kind, suspect, tuple(missing))
    _set_aside_copies(found, frame)
    return found


def check_types(types: Mapping[str, str]) -> None:
    """Refuse types that there are not.

    Raises:
        ValueError: with those that there are.
    """
    for name, kind in types.items():
        if kind not in (*KINDS, ASIDE):
            near = get_close_matches(str(kind), [*KINDS, ASIDE], n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise ValueError(
                f"types: column {name!r} has the type {kind!r}{meant}; expected "
                f"{', '.join(KINDS)}, or aside to leave it out"
            )


def _find(
    found: Findings,
    name: str,
    cells: Cells,
    kind: str | None,
    suspect: bool,
    missing: tuple[Any, ...],
) -> None:
    empty = is_missing(cells, missing)
    if empty.all():
        found.set_aside[name] = "it has no values"
        return
    if cells.dtype.kind == "M" or (cells.dtype == object and kind in (None, "date")):
        dated = cells.dtype.kind == "M" or _holds_dates(cells[~empty])
        if dated and kind is None:
            example = str(cells[~empty][0])[:40]
            raise ValueError(
                f"column {name!r} holds dates such as {example!r}: types={{{name!r}: 'date'}} "
                f"takes them as days, types={{{name!r}: 'aside'}} leaves them out (--data.types)"
            )
    if kind == "date":
        days = Date(name, missing).encode(cells)
        known = days[~np.isnan(days)]
        found.columns.append(Date(name, missing, whole=bool((known == np.floor(known)).all())))
        return
    if cells.dtype.kind not in "biuf":
        numbers, tokens = _as_numbers(cells, empty, missing)
        if numbers is None:
            _find_text(found, name, cells, empty, kind, missing)
            return
        if tokens:
            shown = ", ".join(map(repr, tokens))
            found.notes.append(f"column {name!r}: {shown} was taken as missing")
            missing = (*missing, *tokens)
        cells = numbers
    _find_numbers(found, name, cells, kind, suspect, missing)


def _find_numbers(
    found: Findings,
    name: str,
    cells: Cells,
    kind: str | None,
    suspect: bool,
    missing: tuple[Any, ...],
) -> None:
    known = cells if cells.dtype.kind in "biu" else cells[~np.isnan(cells)]
    for value in missing:
        known = known[known != value] if isinstance(value, int | float) else known
    if cells.dtype.kind == "f" and np.isinf(known).any():
        raise ValueError(
            f"column {name!r} holds infinite values, the first in data row "
            f"{int(np.isinf(cells).argmax()) + 1}; correct them, or leave them empty"
        )
    if suspect and kind is None and cells.dtype.kind != "b":
        sentinels = _sentinels(known)
        if sentinels:
            shown = ", ".join(f"{value:g}" for value in sentinels)
            found.notes.append(
                f"column {name!r}: {shown} is far from the other values and repeated, and was "
                "taken as missing; missing=[] takes it as a value"
            )
            missing = (*missing, *sentinels)
            known = known[~np.isin(known, sentinels)]
    distinct = _distinct(known)
    if kind is None:
        reason = _reason(found, name, cells, known, distinct)
        if reason:
            found.set_aside[name] = reason
            return
    levels = None if distinct is None else tuple(_python(value) for value in np.sort(distinct))
    if kind is not None:
        found.columns.append(_typed(name, kind, known, levels, missing))
        return
    found.columns.append(_numeric(name, known, levels, missing))


def _numeric(
    name: str, known: Cells, levels: tuple[Any, ...] | None, missing: tuple[Any, ...]
) -> Column:
    if levels is not None and len(levels) == 2:
        return Binary(name, missing, levels=levels)
    values = known.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    whole = bool((values == np.floor(values)).all())
    if whole:
        enough = levels is not None and len(values) >= _ROWS_PER_CODE * len(levels)
        if levels is not None and len(levels) <= _CODES and enough:
            return Category(name, missing, levels=tuple(_python(v) for v in map(int, levels)))
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
            levels = tuple(_python(value) for value in np.unique(known))
        return _of_levels(name, kind, levels, missing)
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


def _of_levels(name: str, kind: str, levels: tuple[Any, ...], missing: tuple[Any, ...]) -> Column:
    if len(levels) < 2 or (kind == "binary" and len(levels) != 2):
        raise ValueError(
            f"column {name!r} has {len(levels)} different values; a {kind} column has "
            f"{'2' if kind == 'binary' else 'at least 2'}"
        )
    made = Binary if kind == "binary" else Category
    return made(name, missing, levels=levels)


def _find_text(
    found: Findings,
    name: str,
    cells: Cells,
    empty: NDArray[np.bool_],
    kind: str | None,
    missing: tuple[Any, ...],
) -> None:
    import pandas

    if kind not in (None, "binary", "category"):
        example = next(str(cell) for cell in cells[~empty])
        raise ValueError(
            f"types: column {name!r} holds text such as {example[:40]!r}; it cannot be {kind!r}: "
            "expected binary, category or aside"
        )
    known = pandas.Series(cells[~empty], dtype=object)
    counts = known.value_counts()
    counts = counts.groupby([c.strip() if isinstance(c, str) else c for c in counts.index]).sum()
    counts = counts.sort_values(ascending=False, kind="stable")
    levels = tuple(sorted(counts.index, key=lambda level: (str(type(level)), level)))
    levels = tuple(_python(level) for level in levels)
    if kind is None:
        if len(levels) == 1:
            found.set_aside[name] = f"it has one value, {str(levels[0])[:40]!r}"
            return
        share = len(levels) / len(known)
        if len(levels) > _FEW and share > 0.9:
            words = known.map(str).str.split().str.len().mean()
            example = f"nearly all different, such as {str(known.iloc[0])[:40]!r}"
            found.set_aside[name] = f"it holds {'text' if words > 3 else 'names'}, {example}"
            if words <= 3 and found.names is None and len(levels) == len(cells):
                found.names = name
            return
    if len(levels) == 2:
        found.columns.append(Binary(name, missing, levels=levels))
        return
    if kind == "binary":
        _of_levels(name, kind, levels, missing)
    frequent = counts[counts >= _RARE] if len(levels) > _FEW else counts
    frequent = frequent.iloc[: _LEVELS - 1] if len(levels) > _LEVELS else frequent
    kept = tuple(level for level in levels if level in frequent.index)
    if kind is None and (len(kept) < 2 or frequent.sum() < 0.5 * len(known)):
        found.set_aside[name] = f"it has {len(levels)} different texts, most of them rare"
        return
    if len(kept) < len(levels):
        found.notes.append(
            f"column {name!r}: {len(levels) - len(kept)} rare levels of {len(levels)} were joined "
            "as '(other)'"
        )
    other = len(kept) < len(levels)
    found.columns.append(Category(name, missing, levels=kept, other=other))


def _reason(
    found: Findings, name: str, cells: Cells, known: Cells, distinct: Cells | None
) -> str | None:
    """Say why a column of numbers is left out, if it is."""
    if distinct is not None and len(distinct) == 1:
        return f"it has one value, {_python(distinct[0])}"
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
    if bool((steps == steps[0]).all()) and len(known) > 20:
        found.notes.append(
            f"column {name!r} rises by {steps[0]:g} from row to row; leave it out if it measures "
            f"nothing: types={{{name!r}: 'aside'}}"
        )
    return None


def _sentinels(known: Cells) -> tuple[float, ...]:
    """Return the lowest and highest values that look as if they stand for missing ones."""
    found: list[float] = []
    values = known.astype(np.float64)
    for value in (float(values.min()), float(values.max())):
        others = values[values != value]
        if abs(value) not in _SENTINELS or len(others) < 5 or len(values) - len(others) < 2:
            continue
        low, high = float(others.min()), float(others.max())
        gap = low - value if value < low else value - high
        if gap > _FAR * (high - low) and (value < 0 or gap > 2 * abs(high)):
            found.append(value)
    return tuple(int(value) if value.is_integer() else value for value in found)


def _distinct(known: Cells) -> Cells | None:
    """Return the different values, or None if there are many."""
    if len(known) > _SAMPLE:
        first = np.unique(known[:: len(known) // _SAMPLE])
        if len(first) > _LEVELS:
            return None
    values = np.unique(known)
    return values if len(values) <= _LEVELS else None


def _as_numbers(
    cells: Cells, empty: NDArray[np.bool_], missing: tuple[Any, ...]
) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Return a column of texts as numbers where nearly all are so, and the texts that are not."""
    import pandas

    places, distinct = distinct_cells(np.where(empty, None, cells))
    if any(isinstance(cell, bool | np.bool_) for cell in distinct):
        return None, ()
    found = pandas.to_numeric(pandas.Series(distinct, dtype=object), errors="coerce")
    numbers = np.append(found.to_numpy(np.float64), np.nan)[places]
    tokens = tuple(sorted({str(cell).strip() for cell in distinct[found.isna().to_numpy()]}))
    if not tokens:
        return numbers, ()
    kept = int((~np.isnan(numbers)).sum())
    texts = int((~empty).sum()) - kept
    few = len(tokens) <= _TOKENS and texts < 0.5 * len(cells)
    if few and kept >= 5 and kept > texts and not any(re.search(r"\d", t) for t in tokens):
        return numbers, tokens
    return None, ()


def _holds_dates(known: Cells) -> bool:
    """Tell whether texts are dates."""
    import datetime

    import pandas

    if all(isinstance(cell, datetime.date) for cell in known[:100]):
        return True
    texts = [str(cell).strip() for cell in known[:: max(1, len(known) // 100)]]
    if not all(isinstance(cell, str) for cell in known[:100]):
        return False
    if not all(_DATE.fullmatch(text) for text in texts):
        return False
    dates = pandas.to_datetime(pandas.Series(texts), errors="coerce", format="mixed", utc=True)
    return bool(dates.notna().all())


def _set_aside_copies(found: Findings, frame: Frame) -> None:
    """Leave out columns that repeat another: a density could grow without bound between them."""
    seen: dict[int, list[Column]] = {}
    for column in list(found.columns):
        numbers = column.encode(frame[column.name])
        key = hash(numbers.tobytes())
        for other in seen.get(key, ()):
            if np.array_equal(numbers, other.encode(frame[other.name]), equal_nan=True):
                found.columns.remove(column)
                found.set_aside[column.name] = f"it repeats column {other.name!r}"
                break
        else:
            seen.setdefault(key, []).append(column)


def _skewness(values: NDArray[np.float64]) -> float:
    gaps = values - values.mean()
    spread = float(np.sqrt((gaps**2).mean()))
    return float((gaps**3).mean()) / spread**3 if spread > 0 else 0.0


def _python(value: Any) -> Any:
    """Return a value of NumPy as one of Python, whole numbers as such."""
    value = value.item() if isinstance(value, np.generic) else value
    return int(value) if isinstance(value, float) and value.is_integer() else value
