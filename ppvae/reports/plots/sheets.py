"""The sheet that a figure is drawn on: its size, title and source, and what it shows in words."""

import math
import textwrap
from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

WIDTH = 6.6
"""Inches: 634 pixels, so that a page of 640 pixels shows text at its own size."""

TITLE, LABEL, SMALL = 10, 9, 8
"""Sizes of text in points."""

_CHARACTER = 0.54  # the width of a character, as a share of the text's size


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
        strip = (len(lines) * SMALL * 1.3 + 4) / 72
        _reserve(figure, strip)
        figure.text(0.02, 3 / 72 / figure.get_figheight(), "\n".join(lines), fontsize=SMALL)
        for legend in figure.legends:
            legend.set_bbox_to_anchor((0, strip / figure.get_figheight()))
        figure.set_label(f"{alternative_text(figure)}. Of {source}")
    return figure


def legend_below(
    figure: Figure,
    handles: Sequence[Artist],
    labels: Sequence[str],
    columns: int = 1,
    title: str | None = None,
) -> None:
    """Explain the looks of a figure below it, in rows."""
    rows = math.ceil(len(labels) / columns) + (title is not None)
    _reserve(figure, (rows * SMALL * 1.45 + 6) / 72)
    figure.legend(
        handles, labels, frameon=False, loc="lower left", bbox_to_anchor=(0, 0), ncols=columns,
        fontsize=SMALL, borderaxespad=0.2, labelspacing=0.3,
        title=title, title_fontsize=SMALL, alignment="left",
    )  # fmt: skip


def _reserve(figure: Figure, strip: float) -> None:
    """Make a figure higher by a strip, in inches, at its foot that its axes leave free."""
    width, height = figure.get_size_inches()
    engine = figure.get_layout_engine()
    figure.set_size_inches(width, height + strip)
    if isinstance(engine, ConstrainedLayoutEngine):
        below = (engine.get()["rect"][1] * height + strip) / (height + strip)
        engine.set(rect=(0, below, 1, 1 - below))
