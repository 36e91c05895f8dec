"""Numbers that stand for missing ones."""

import numpy as np

from ppvae.data.tabular.cells import Cells

_NUMBERS = (999, 9999, 99999, 999999, 99, 88888, 8888, 888)
_FAR = 1.0  # ranges of the other values between them and a sentinel
_FEWEST = 2  # cells of one
_LOWEST = -99  # of numbers that are suspected below zero


def sentinels(known: Cells) -> tuple[float, ...]:
    """Return the lowest and highest values that look as if they stand for missing ones.

    Example:
        >>> sentinels(np.array([0.3, -999, 0.5, 0.1, -999, 0.2, 0.7]))
        (-999,)
    """
    found: list[float] = []
    values = known.astype(np.float64)
    for value in (float(values.min()), float(values.max())):
        if abs(value) not in _NUMBERS:
            continue
        others = values[values != value]
        if len(others) < 5 or len(values) - len(others) < _FEWEST:
            continue
        low, high = float(others.min()), float(others.max())
        gap = low - value if value < low else value - high
        if gap > _FAR * (high - low) and (value < 0 or gap > 2 * abs(high)):
            found.append(value)
    return tuple(int(value) if value.is_integer() else value for value in found)


def only_negative(known: Cells) -> int | None:
    """Return the one negative value of whole numbers that are otherwise none, such as -1 or -9.

    Example:
        >>> only_negative(np.array([3, -1, 0, 7, -1, 2])), only_negative(np.array([1, -1, 1, -1]))
        (-1, None)
    """
    low = known.min()
    if not _LOWEST <= low < 0 or len(known) < 5:
        return None
    others = known[known != low]
    if len(known) - len(others) < _FEWEST or not len(others) or others.min() < 0:
        return None
    whole = bool((known == np.floor(known)).all())
    return int(low) if whole and others.max() > 1 else None
