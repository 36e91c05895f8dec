"""Finds what each column of a table holds."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data.headers import is_number
from ppvae.data.tabular.cells import Cells, Frame, distinct_cells, is_missing
from ppvae.data.tabular.columns import (
    KINDS,
    Binary,
    Category,
    Date,
)
from ppvae.data.tabular.copies import find_copies
from ppvae.data.tabular.dates import day_first, holds_dates
from ppvae.data.tabular.findings import Findings
from ppvae.data.tabular.number_columns import (
    CODES,
    LEVELS,
    find_numbers,
    of_levels,
    plain_value,
    refuse_dates,
)

ASIDE = "aside"
"""What the types call a column that is left out."""

_RARE = 5  # rows of a level, in a column of more than a few levels
_FEW = 12  # levels, of which none is too rare
_TOKENS = 3  # texts in a column of numbers that stand for missing ones


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
    copies = find_copies(found.columns, frame)
    found.columns = [column for column in found.columns if column.name not in copies]
    found.set_aside |= copies
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
        dated = cells.dtype.kind == "M" or holds_dates(cells[~empty])
        if dated and kind is None:
            refuse_dates(name, cells[~empty][0])
    if kind == "date":
        first = cells.dtype == object and day_first(cells[~empty])
        days = Date(name, missing, day_first=first).encode(cells)
        known = days[~np.isnan(days)]
        whole = bool((known == np.floor(known)).all())
        found.columns.append(Date(name, missing, whole, first))
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
    find_numbers(found, name, cells, kind, suspect, missing)


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
    trimmed = [level.strip() if isinstance(level, str) else level for level in counts.index]
    counts = counts.groupby(trimmed, sort=False).sum()
    counts = counts.sort_values(ascending=False, kind="stable")
    levels = tuple(sorted(counts.index, key=lambda level: (str(type(level)), level)))
    levels = tuple(plain_value(level) for level in levels)
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
        mixed = _mixed(levels, counts)
        if mixed:
            found.set_aside[name] = mixed
            return
        found.notes += _alike(name, levels)
    if len(levels) == 2:
        found.columns.append(Binary(name, missing, levels=levels))
        return
    if kind == "binary":
        of_levels(name, kind, levels, missing)
    frequent = counts[counts >= _RARE] if len(levels) > _FEW else counts
    frequent = frequent.iloc[: LEVELS - 1] if len(levels) > LEVELS else frequent
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


def _mixed(levels: tuple[Any, ...], counts: Any) -> str | None:
    """Say that texts are numbers in part, of many different values."""
    numbers = [level for level in levels if is_number(str(level))]
    if not _FEW < len(numbers) < len(levels):
        return None
    text = next(level for level in counts.index if not is_number(str(level)))
    return f"it mixes numbers and text, such as {numbers[0]!r} and {str(text)[:40]!r}"


def _alike(name: str, levels: tuple[Any, ...]) -> Iterator[str]:
    """Say which levels differ in capitals alone."""
    first: dict[str, Any] = {}
    for level in levels:
        other = first.setdefault(str(level).casefold(), level)
        if other is not level:
            yield f"column {name!r}: levels {other!r} and {level!r} differ in capitals alone"


def _as_float(cell: Any) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return math.nan


def _as_numbers(
    cells: Cells, empty: NDArray[np.bool_], missing: tuple[Any, ...]
) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Return a column of texts as numbers where nearly all are so, and the texts that are not."""
    import pandas

    kept_cells = cells.astype(object)
    kept_cells[empty] = None
    places, distinct = distinct_cells(kept_cells)
    if any(isinstance(cell, bool | np.bool_) for cell in distinct):
        return None, ()
    shown = pandas.Series(distinct, dtype=object)
    try:
        found = pandas.to_numeric(shown, errors="coerce")
    except OverflowError:  # of a whole number that no floating one is as large as
        found = shown.map(_as_float)
    numbers = np.append(found.to_numpy(np.float64), np.nan)[places]
    tokens = tuple(sorted({str(cell).strip() for cell in distinct[found.isna().to_numpy()]}))
    if not tokens:
        return numbers, ()
    kept = int((~np.isnan(numbers)).sum())
    texts = int((~empty).sum()) - kept
    # Among few numbers, which may be codes of levels, a text is a level too.
    codes = len(distinct) - len(tokens) <= CODES
    few = len(tokens) <= _TOKENS and texts < 0.5 * len(cells) and not codes
    if few and kept >= 5 and kept > texts and not any(re.search(r"\d", t) for t in tokens):
        return numbers, tokens
    return None, ()
