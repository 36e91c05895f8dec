"""Numbers with a sign of their unit, such as 12.5% or $3."""

import re

import numpy as np

from ppvae.data.tabular.cells import Cells, Frame, distinct_cells

_SIGNS = "%‰°$€£¥"
_SIGNED = re.compile(rf"([-+]?)\s*([{_SIGNS}]?)\s*([-+]?[\d.,' ]*\d)\s*([{_SIGNS}]?)")
_COMMAS = re.compile(r"\d{1,3}([,' ]\d{3})+(\.\d+)?")


def without_signs(frame: Frame) -> tuple[Frame, list[str]]:
    """Return a table whose cells have no signs of units, and what is to be said.

    Only columns are changed in which every cell is a number with one and the same sign.

    Example:
        >>> frame, said = without_signs({"share": np.array(["5%", None, "7.5%"], dtype=object)})
        >>> frame["share"].tolist()
        [5.0, nan, 7.5]
    """
    changed: Frame = {}
    notes = []
    for name, cells in frame.items():
        found = _numbers(cells) if cells.dtype == object else None
        changed[name] = cells if found is None else found[0]
        if found is not None:
            notes.append(f"column {name!r}: the sign {found[1]!r} was left out of its numbers")
    return changed, notes


def _numbers(cells: Cells) -> tuple[Cells, str] | None:
    first = next((cell for cell in cells[:1000] if cell is not None), None)
    if not isinstance(first, str) or not any(sign in first for sign in _SIGNS):
        return None
    places, distinct = distinct_cells(cells)
    matches = [_SIGNED.fullmatch(c.strip()) if isinstance(c, str) else None for c in distinct]
    signs = {(match[2], match[4]) if match else None for match in matches}
    if len(signs) != 1 or None in signs:
        return None
    values = [_value(match[1] + match[3]) for match in matches if match]
    if any(value is None for value in values):
        return None
    numbers = np.array([*values, np.nan], dtype=np.float64)[places]
    (before, after) = next(sign for sign in signs if sign)
    return numbers, before or after


def _value(text: str) -> float | None:
    if _COMMAS.fullmatch(text.lstrip("+-")):
        text = re.sub("[,' ]", "", text)
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return None
