"""The layout of the tutorial's page: headings, paragraphs, tables, figures on disk."""

import inspect
import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH = 84


def begin(number: int, text: str) -> None:
    """Print a section's heading and its opening words: the docstring of its file."""
    title, _, body = inspect.cleandoc(text).partition("\n")
    heading = f"{number}. {title.rstrip('.')}"
    print(f"\n\n{heading}\n{'=' * len(heading)}\n")
    say(body)


def say(text: str) -> None:
    """Print paragraphs filled to the page's width; indented ones, formulas, stay as they are."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        kept = paragraph.startswith(" ")
        print(paragraph if kept else textwrap.fill(" ".join(paragraph.split()), WIDTH))
        print()


def table(header: Sequence[str], *rows: Sequence[object]) -> None:
    """Print rows under a header, the first column to the left and the others to the right."""
    lines = [[str(cell) for cell in line] for line in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for position, (first, *others) in enumerate(lines):
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        print("   ".join(["   " + first.ljust(widths[0]), *cells]).rstrip())
        if position == 0:
            print("   " + "-" * (sum(widths) + 3 * len(widths)))
    print()


def draw(figure: Figure, folder: Path, name: str) -> None:
    """Save a figure as PNG and say where it is."""
    figure.savefig(folder / f"{name}.png", dpi=130)
    print(f"   drawn: {folder / name}.png\n")


def panels(columns: int, rows: int = 1, height: float = 3.2) -> tuple[Figure, list[Axes]]:
    """Return an empty figure and its panels, row by row."""
    figure = Figure(figsize=(10, height * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(grid)


def share(full: int, size: float, least: int) -> int:
    """Return how many of a full number of draws, rows or steps a run of this size takes."""
    return max(least, round(full * size))
