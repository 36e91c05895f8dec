"""Colours, line styles and markers that readers tell apart, whatever colours their eyes see."""

from typing import Any

# Okabe and Ito, "Color Universal Design", 2008, without its yellow, which is too light on white.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.")
_MARKERS = ("o", "^", "s", "x")

DISTINCT = len(_COLORS) * len(_LINES)
"""How many lines, or kinds of points, can be told apart."""


def line_style(index: int) -> dict[str, Any]:
    """Return colour and line style of a curve; no two of `DISTINCT` curves have the same.

    Example:
        >>> len({tuple(line_style(index).values()) for index in range(DISTINCT)}) == DISTINCT
        True
    """
    return {"color": _COLORS[index % len(_COLORS)], "linestyle": _LINES[index // len(_COLORS)]}


def point_style(index: int) -> dict[str, Any]:
    """Return colour and marker of a class of points; no two of `DISTINCT` have the same.

    Example:
        >>> len({tuple(point_style(index).values()) for index in range(DISTINCT)}) == DISTINCT
        True
    """
    return {"color": _COLORS[index % len(_COLORS)], "marker": _MARKERS[index // len(_COLORS)]}
