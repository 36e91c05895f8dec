"""Colours, line styles and markers that all readers tell apart, in gray too."""

from typing import Any

# Okabe and Ito, "Color Universal Design", 2008, without its yellow, which is too light on white.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# 4 and 8 have no divisor in common with 7 colours: both change from one to the next.
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.")
_MARKERS = ("o", "^", "s", "x", "v", "D", "+", "P")

DISTINCT = len(_COLORS) * len(_LINES)
"""How many lines, or kinds of points, can be told apart."""


def line_style(index: int) -> dict[str, Any]:
    """Return colour and line style of a curve; no two of `DISTINCT` curves have the same.

    Example:
        >>> len({tuple(line_style(index).values()) for index in range(DISTINCT)}) == DISTINCT
        True
    """
    return {"color": _COLORS[index % len(_COLORS)], "linestyle": _LINES[index % len(_LINES)]}


def point_style(index: int) -> dict[str, Any]:
    """Return colour and marker of a class of points; no two of `DISTINCT` have the same.

    Example:
        >>> len({tuple(point_style(index).values()) for index in range(DISTINCT)}) == DISTINCT
        True
    """
    marker = _MARKERS[index % len(_MARKERS)]
    thin = 1.0 if marker in "x+" else 0.0  # these have lines only
    return {"color": _COLORS[index % len(_COLORS)], "marker": marker, "linewidths": thin}
