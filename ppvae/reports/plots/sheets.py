"""The sheet that a figure is drawn on: its size, title and source, and what it shows in words."""

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 6.6
"""Inches: 634 pixels, so that a page of 640 pixels shows text at its own size."""

TITLE, LABEL, SMALL = 10, 9, 8
"""Sizes of text in points."""

_CHARACTER = 0.6  # the width of a character, as a share of the text's size


def sheet(height: float, title: str, description: str = "", width: float = WIDTH) -> Figure:
    """Return an empty figure with a title, wrapped to its width.

    Args:
        height: inches, without the lines of the title.
        title: what the figure shows.
        description: what it shows beyond the title, for a reader who does not see it.
        width: inches.
    """
    lines = textwrap.wrap(title, fitting(width - 0.3, TITLE))
    size = (width, height + len(lines) * TITLE * 1.4 / 72)
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("\n".join(lines), fontsize=TITLE, x=0.02, ha="left")
    figure.set_label(". ".join(filter(None, (title.rstrip("."), description))))
    return figure


def fitting(width: float, size: float) -> int:
    """Return how many characters of a size in points fit into a width in inches."""
    return max(1, int(width * 72 / (size * _CHARACTER)))


def plain(axes: Axes, title: str = "", *, x: str = "", y: str = "") -> None:
    """Give axes their texts, and leave out lines that say nothing."""
    axes.set_title(title, fontsize=LABEL, loc="left")
    axes.set_xlabel(x, fontsize=LABEL)
    axes.set_ylabel(y, fontsize=LABEL)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def alternative_text(figure: Figure) -> str:
    """Return what a figure of this package shows, in words, for a reader who does not see it.

    Example:
        >>> alternative_text(sheet(3, "Two bars", "The left one is longer"))
        'Two bars. The left one is longer'
    """
    return str(figure.get_label())


def with_source(figure: Figure, source: str) -> Figure:
    """Name below a figure which data and run it is of; return the figure.

    Args:
        figure: a figure of this package.
        source: such as "digits, test split, 179 datapoints, runs/digits-1".

    Example:
        >>> figure = with_source(sheet(3, "Two bars"), "digits, test split")
        >>> alternative_text(figure)
        'Two bars. Of digits, test split'
    """
    if source:
        lines = textwrap.wrap(source, fitting(figure.get_figwidth() - 0.2, SMALL))
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + len(lines) * SMALL * 1.3 / 72)
        figure.supxlabel("\n".join(lines), x=0.02, ha="left", fontsize=SMALL, color="0.35")
        figure.set_label(f"{alternative_text(figure)}. Of {source}")
    return figure
