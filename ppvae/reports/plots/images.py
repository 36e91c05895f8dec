"""Images of data, reconstructions and samples."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

Shape: TypeAlias = tuple[int, int] | tuple[int, int, int]
Limits: TypeAlias = tuple[float, float] | None


def image_rows(
    rows: Mapping[str, ArrayLike],
    image_shape: Shape,
    title: str,
    *,
    limits: Limits = None,
    inverted: bool = False,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw images in labeled rows, one below the other.

    Args:
        rows: images `(images, pixels)` by label, the same number in each.
        image_shape: height and width, or channels, height and width; 1 channel is gray, 3 are red,
            green and blue.
        title: what the figure shows.
        limits: the values drawn as black and as white; the lowest and the highest of the images
            unless given.
        inverted: draw high values dark, as ink on paper; by default they are light, as in
            photographs.
        texts: by label, a short text for each image of a row, such as its name.

    Raises:
        ValueError: if there are no rows, or their numbers of images differ.

    Example:
        >>> figure = image_rows({"data": np.zeros((3, 4))}, (2, 2), "three images")
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['data']
    """
    images = {label: _images(values, image_shape) for label, values in rows.items()}
    counts = {len(values) for values in images.values()}
    if len(counts) != 1:
        raise ValueError(f"image_rows needs rows of one length, got {sorted(counts)}")
    mosaic = np.stack(list(images.values()))
    figure = _mosaic(mosaic, title, limits, inverted, labels=list(images))
    for row, label in enumerate(images):
        _write(figure.axes[0], mosaic.shape[2:4], row, (texts or {}).get(label, ()))
    return figure


def image_grid(
    values: ArrayLike,
    image_shape: Shape,
    title: str,
    *,
    limits: Limits = None,
    inverted: bool = False,
) -> Figure:
    """Draw images in a grid as near to square as their number allows.

    Args:
        values: images `(images, pixels)`.
        image_shape: height and width, or channels, height and width; 1 channel is gray, 3 are red,
            green and blue.
        title: what the figure shows.
        limits: the values drawn as black and as white; the lowest and the highest of the images
            unless given.
        inverted: draw high values dark, as ink on paper; by default they are light, as in
            photographs.

    Example:
        >>> len(image_grid(np.zeros((6, 4)), (2, 2), "six images").axes)
        1
    """
    images = _images(values, image_shape)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    padded = np.full((rows * columns, *images.shape[1:]), np.nan)
    padded[: len(images)] = images
    return _mosaic(padded.reshape(rows, columns, *images.shape[1:]), title, limits, inverted)


def traversals(
    images: ArrayLike,
    image_shape: Shape,
    names: Sequence[str],
    values: ArrayLike,
    *,
    limits: Limits = None,
    inverted: bool = False,
    note: str = "",
) -> Figure:
    """Draw how the decoded image changes along each latent dimension, one a row.

    Args:
        images: decoded images `(dimensions, steps, pixels)`.
        image_shape: height and width, or channels, height and width; 1 channel is gray, 3 are red,
            green and blue.
        names: what each dimension is called.
        values: the latent's values, `(steps,)`.
        limits: the values drawn as black and as white; the lowest and the highest of the images
            unless given.
        inverted: draw high values dark, as ink on paper; by default they are light, as in
            photographs.
        note: what else the title says.

    Raises:
        ValueError: if names or values do not fit the images.

    Example:
        >>> figure = traversals(np.zeros((2, 3, 4)), (2, 2), ["z_0", "z_1"], [-2, 0, 2])
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['z_0', 'z_1']
    """
    rows, steps = np.asarray(images), np.asarray(values)
    if rows.ndim != 3 or rows.shape[:2] != (len(names), len(steps)):
        raise ValueError(
            f"traversals needs images of shape ({len(names)}, {len(steps)}, pixels), got "
            f"{rows.shape}"
        )
    title = f"mean of p(x|z) as one latent moves from {steps[0]:g} to {steps[-1]:g}{note}"
    labeled = dict(zip(names, rows, strict=True))
    return image_rows(labeled, image_shape, title, limits=limits, inverted=inverted)


def manifold(
    images: ArrayLike,
    image_shape: Shape,
    *,
    limits: Limits = None,
    inverted: bool = False,
    note: str = "",
) -> Figure:
    """Draw the decoded images of a grid of points of a two-dimensional latent space.

    Args:
        images: the decoded points of `quantile_grid`, `(side * side, pixels)`.
        image_shape: height and width, or channels, height and width; 1 channel is gray, 3 are red,
            green and blue.
        limits: the values drawn as black and as white; the lowest and the highest of the images
            unless given.
        inverted: draw high values dark, as ink on paper; by default they are light, as in
            photographs.
        note: what else the title says.

    Raises:
        ValueError: if the number of images is no square.

    Example:
        >>> len(manifold(np.zeros((400, 4)), (2, 2)).axes)
        1
    """
    tiles = _images(images, image_shape)
    side = math.isqrt(len(tiles))
    if side * side != len(tiles):
        raise ValueError(f"manifold needs a square number of images, got {len(tiles)}")
    height, width, *colors = tiles.shape[1:]
    square = tiles.reshape(side, side, height, width, *colors).swapaxes(1, 2)
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    canvas = square.reshape(side * height, side * width, *colors)
    _show(axes, canvas, limits, inverted)
    quantiles = quantile_grid(side)[:side, 0]
    ticks = min(side, 5 if side % 2 else 4)  # placed symmetrically about the median
    shown = np.unique(np.linspace(0, side - 1, ticks).round().astype(int))
    texts = [f"{quantiles[index]:.2f}" for index in shown]
    axes.set_xticks((shown + 0.5) * width, texts)
    axes.set_yticks((side - shown - 0.5) * height, texts)
    axes.set_xlabel("z_0, on the quantiles of the normal")
    axes.set_ylabel("z_1")
    axes.set_title(f"mean of p(x|z) over the latent space{note}")
    return figure


def quantile_grid(side: int = 20) -> NDArray[np.float64]:
    """Return the points of a square grid on the quantiles of the normal, row by row from the top.

    Args:
        side: number of points along each axis.

    Returns:
        `(side * side, 2)`: the two coordinates of each point; the second decreases from row to
        row.

    Example:
        >>> quantile_grid(3)[4].tolist()
        [0.0, 0.0]
    """
    normal = NormalDist()
    quantiles = np.array([normal.inv_cdf((index + 0.5) / side) for index in range(side)])
    first, second = np.meshgrid(quantiles, quantiles[::-1])
    return np.stack([first.ravel(), second.ravel()], axis=1)


def _images(values: ArrayLike, image_shape: Shape) -> NDArray[Any]:
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


def _show(axes: Axes, canvas: NDArray[Any], limits: Limits, inverted: bool) -> None:
    """Draw one image; NaN stays empty."""
    present = canvas[~np.isnan(canvas)] if canvas.dtype.kind == "f" else canvas
    low, high = limits or (float(present.min(initial=np.inf)), float(present.max(initial=-np.inf)))
    if canvas.ndim == 2:
        axes.imshow(canvas, cmap="gray_r" if inverted else "gray", vmin=low, vmax=high)
        return
    shares = np.clip((canvas - low) / ((high - low) or 1.0), 0, 1)
    shares = 1 - shares if inverted else shares
    axes.imshow(np.nan_to_num(shares, nan=1.0))


def _gap(height: int, width: int) -> int:
    return max(1, round(0.1 * max(height, width)))


def _write(axes: Axes, size: tuple[int, ...], row: int, texts: Sequence[str]) -> None:
    """Write a text into the upper left corner of each image of a row."""
    height, width = size
    gap = _gap(height, width)
    for column, text in enumerate(texts):
        x, y = column * (width + gap) - 0.4, row * (height + gap) - 0.4
        drawn = axes.text(x, y, text[:8], fontsize=6, ha="left", va="top", color="white")
        drawn.set_path_effects([withStroke(linewidth=1.5, foreground="black")])


def _mosaic(
    images: NDArray[Any], title: str, limits: Limits, inverted: bool, labels: Sequence[str] = ()
) -> Figure:
    """Draw images `(rows, columns, *image)` as one, with gaps between; NaN stays empty."""
    rows, columns, height, width, *colors = images.shape
    gap = _gap(height, width)
    canvas = np.full((rows, height + gap, columns, width + gap, *colors), np.nan)
    canvas[:, :height, :, :width] = images.swapaxes(1, 2)
    canvas = canvas.reshape(rows * (height + gap), columns * (width + gap), *colors)[:-gap, :-gap]
    # Wide enough for the title, too.
    wide = max(0.62 * columns + (1.3 if labels else 0.3), 0.09 * len(title) + 0.2)
    size = (wide, 0.62 * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    _show(axes, canvas, limits, inverted)
    axes.set_xticks([])
    centers = (np.arange(len(labels)) + 0.5) * (height + gap) - (gap + 1) / 2
    axes.set_yticks(centers, labels)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize="medium")
    return figure
