"""Many images drawn as one, with gaps between, names beside and missing pixels hatched."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.sheets import LABEL, SMALL, WIDTH, fitting, legend_below, sheet

Shape: TypeAlias = tuple[int, int] | tuple[int, int, int]
Limits: TypeAlias = tuple[float, float] | None

_LARGEST = 0.66  # inches of an image's width
_MISSING: dict[str, Any] = {
    "facecolor": "white", "edgecolor": "0.45", "linewidth": 0, "hatch": "//////",
}  # fmt: skip


def images_of(values: ArrayLike, image_shape: Shape) -> NDArray[Any]:
    """Return images `(images, height, width)`, or `(images, height, width, 3)` in color."""
    *channels, height, width = image_shape
    if len(image_shape) not in (2, 3) or channels not in ([], [1], [3]):
        raise ValueError(
            "image_shape must be (height, width), (1, height, width) or (3, height, width), got "
            f"{tuple(image_shape)}"
        )
    images = np.asarray(values)
    if channels == [3]:
        return np.moveaxis(images.reshape(-1, 3, height, width), 1, -1)
    return images.reshape(-1, height, width)


def show(axes: Axes, canvas: NDArray[Any], limits: Limits, inverted: bool) -> None:
    """Draw one image; NaN stays empty."""
    present = canvas[~np.isnan(canvas)] if canvas.dtype.kind == "f" else canvas
    low, high = limits or (float(present.min(initial=np.inf)), float(present.max(initial=-np.inf)))
    if canvas.ndim == 2:
        axes.imshow(canvas, cmap="gray_r" if inverted else "gray", vmin=low, vmax=high)
        return
    shares = np.clip((canvas - low) / ((high - low) or 1.0), 0, 1)
    shares = 1 - shares if inverted else shares
    axes.imshow(np.nan_to_num(shares, nan=1.0))


def mosaic(
    images: NDArray[Any],
    title: str,
    limits: Limits,
    inverted: bool,
    *,
    count: int | None = None,
    labels: Sequence[str] = (),
    columns: Sequence[str] = (),
    x: str = "",
    texts: Mapping[int, Sequence[str]] | None = None,
) -> Figure:
    """Draw images `(rows, columns, *image)` as one; pixels that are NaN are hatched.

    Args:
        images: the images.
        title: what the figure shows.
        limits: the values drawn at the two ends of the scale of grays.
        inverted: draw high values dark.
        count: number of images, where the last row is not full.
        labels: the name of each row.
        columns: what is written below each column.
        x: what the columns are.
        texts: by row, what is written above each of its images.
    """
    rows, wide, height, width, *colors = images.shape
    gap = max(1, round(0.1 * max(height, width)))
    beside = 0.3 + max((len(label) for label in labels), default=0) * LABEL * 0.6 / 72
    inches = min(_LARGEST, (WIDTH - beside) / wide)
    across = width + gap
    # Room for a line of text above the images, in pixels.
    line = round(1.4 * SMALL / 72 / inches * across)
    above = np.array([line if (texts or {}).get(row) else 0 for row in range(rows)])
    tops = np.cumsum(above + height + gap) - height - gap
    canvas = np.full((tops[-1] + height, wide, across, *colors), np.nan)
    for top, images_of_row in zip(tops, images, strict=True):
        canvas[top : top + height, :, :width] = images_of_row.swapaxes(0, 1)
    canvas = canvas.reshape(len(canvas), wide * across, *colors)[:, :-gap]
    size = max(4.0, beside + wide * inches)
    content = inches * len(canvas) / across
    foot = 0.2 * bool(columns) + 0.25 * bool(x)
    missing = _missing(images, count)
    figure = sheet(content + foot + 0.15, title, width=size)
    axes = figure.subplots()
    show(axes, canvas, limits, inverted)
    if missing.any():
        _hatch(axes, missing, tops, across)
        legend_below(figure, [Patch(**_MISSING)], ["missing"])
    axes.set_yticks((tops + (height - 1) / 2)[: len(labels)], labels, fontsize=LABEL)
    middle = np.arange(wide) * across + (width - 1) / 2
    axes.set_xticks(middle[: len(columns)], columns, fontsize=SMALL)
    axes.set_xlabel(x, fontsize=LABEL)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    fits = fitting(inches, SMALL)
    for row, names in (texts or {}).items():
        for column, name in enumerate(names):
            short = name if len(name) <= fits else f"{name[: max(1, fits - 1)]}."
            axes.text(
                column * across + (width - 1) / 2, tops[row] - 0.5, short,
                fontsize=SMALL, ha="center", va="bottom",
            )  # fmt: skip
    return figure


def _missing(images: NDArray[Any], count: int | None) -> NDArray[np.bool_]:
    """Return which pixels are missing, `(rows, columns, height, width)`."""
    rows, columns, *_ = images.shape
    pixels = images.reshape(*images.shape[:4], -1).astype(float)
    empty: NDArray[np.bool_] = np.asarray(np.isnan(pixels).any(-1))
    if count is not None:
        empty[(np.arange(rows * columns) >= count).reshape(rows, columns)] = False
    return empty


def _hatch(axes: Axes, missing: NDArray[np.bool_], tops: NDArray[np.int_], across: int) -> None:
    """Hatch pixels, neighbours in a line as one piece."""
    padded = np.pad(missing, [(0, 0)] * 3 + [(1, 1)]).astype(int)
    change = np.diff(padded, axis=-1)
    row, column, line, start = np.nonzero(change == 1)
    end = np.nonzero(change == -1)[-1]
    top = tops[row] + line - 0.5
    left, right = (column * across + each - 0.5 for each in (start, end))
    corners = [(left, top), (right, top), (right, top + 1), (left, top + 1), (left, top)]
    points = np.stack([np.stack(corner, -1) for corner in corners], 1).reshape(-1, 2)
    codes = [Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY] * len(top)
    axes.add_patch(PathPatch(Path(points, codes), **_MISSING))
