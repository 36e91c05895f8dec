"""Dates as text and as numbers."""

import datetime
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_BETWEEN = r"[-/. ]+"
_DATE = re.compile(
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([T ]\d{1,2}:.*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}.*"
    rf"|\d{{1,2}}{_BETWEEN}{_MONTH}{_BETWEEN}\d{{2,4}}.*"
    rf"|{_MONTH}{_BETWEEN}(\d{{1,2}},?{_BETWEEN})?\d{{4}}.*",
    re.IGNORECASE,
)
_IN_PARTS = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.]\d{2,4}.*")
_LOOKED_AT = 100


def holds_dates(known: NDArray[Any]) -> bool:
    """Tell whether cells, none of them missing, are dates: objects, or text such as 2024-12-31.

    Example:
        >>> holds_dates(np.array(["1-Mar-2020", "31-Dec-2020"], dtype=object))
        True
    """
    import pandas

    if all(isinstance(cell, datetime.date) for cell in known[:_LOOKED_AT]):
        return True
    if not all(isinstance(cell, str) for cell in known[:_LOOKED_AT]):
        return False
    texts = [str(cell).strip() for cell in known[:: max(1, len(known) // _LOOKED_AT)]]
    if not all(_DATE.fullmatch(text) for text in texts):
        return False
    dates = pandas.to_datetime(
        pandas.Series(texts), errors="coerce", format="mixed", utc=True, dayfirst=day_first(known)
    )
    return bool(dates.notna().all())


def day_first(known: NDArray[Any]) -> bool:
    """Tell whether the day stands before the month, as in 31.12.2024.

    Points between the numbers say so; otherwise a first number above 12 does.

    Example:
        >>> day_first(np.array(["1/2/2024", "31/12/2024"], dtype=object))
        True
    """
    found = (_IN_PARTS.fullmatch(cell.strip()) for cell in set(known.tolist()) if _is_text(cell))
    parts = [match for match in found if match]
    return any(match[2] == "." or int(match[1]) > 12 for match in parts)


def are_dates(numbers: NDArray[np.float64]) -> bool:
    """Tell whether whole numbers are dates such as 20241231.

    Example:
        >>> are_dates(np.array([19991231.0, 20000101.0])), are_dates(np.array([19999999.0]))
        (True, False)
    """
    if not len(numbers) or numbers.min() < 1800_01_01 or numbers.max() > 2200_12_31:
        return False
    if bool((numbers != np.floor(numbers)).any()):
        return False
    month, day = numbers // 100 % 100, numbers % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def _is_text(cell: object) -> bool:
    return isinstance(cell, str)
