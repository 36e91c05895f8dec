"""Images of data, reconstructions and samples."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.mosaics import Limits, Shape, images_of, mosaic, show
from ppvae.reports.plots.sheets import LABEL, SMALL, sheet


def image_rows(
    rows: Mapping[str, ArrayLike],
    image_shape: Shape,
    title: str,
    *,
    limits: Limits = None,
    inverted: bool = False,
    texts: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw images in labeled rows, one below the other; pixels that are NaN are hatched.

    Args:
        rows: images `(images, pixels)` by label, the same number in each.
        image_shape: height and width, or channels, height and width; 1 channel is gray, 3 are red,
            green and blue.
        title: what the figure shows.
        limits: the values drawn as black and as white; the lowest and the highest of the images
            unless given.
        inverted: draw high values dark, as ink on paper; by default they are light, as in
            photographs.
        texts: by label, a short text above each image of a row, such as its name.

    Raises:
        ValueError: if there are no rows, or their numbers of images differ.

    Example:
        >>> figure = image_rows({"data": np.zeros((3, 4))}, (2, 2), "three images")
        >>> [text.get_text() for text in figure.axes[0].get_yticklabels()]
        ['data']
    """
    images = {label: images_of(values, image_shape) for label, values in rows.items()}
    counts = {len(values) for values in images.values()}
    if len(counts) != 1:
        raise ValueError(f"image_rows needs rows of one length, got {sorted(counts)}")
    written = {row: (texts or {}).get(label, ()) for row, label in enumerate(images)}
    return mosaic(
        np.stack(list(images.values())), title, limits, inverted,
        labels=list(images), texts=written if texts else None,
    )  # fmt: skip


def image_grid(
    values: ArrayLike,
    image_shape: Shape,
    title: str,
    *,
    limits: Limits = None,
    inverted: bool = False,
) -> Figure:
    """Draw images in a grid as near to square as their number allows; NaN pixels are hatched.

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
    images = images_of(values, image_shape)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    padded = np.full((rows * columns, *images.shape[1:]), np.nan)
    padded[: len(images)] = images
    tiles = padded.reshape(rows, columns, *images.shape[1:])
    return mosaic(tiles, title, limits, inverted, count=len(images))


def traversals(
    images: ArrayLike,
    image_shape: Shape,
    names: Sequence[str],
    values: ArrayLike,
    *,
    limits: Limits = None,
    inverted: bool = False,
    note: str = "",
    unit: str = "value of z",
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
        unit: what the values are.

    Raises:
        ValueError: if names or values do not fit the images.

    Example:
        >>> figure = traversals(np.zeros((2, 3, 4)), (2, 2), ["z_0", "z_1"], [-2, 0, 2])
        >>> axes = figure.axes[0]
        >>> [text.get_text() for text in (*axes.get_yticklabels(), *axes.get_xticklabels())]
        ['z_0', 'z_1', '-2', '0', '2']
    """
    rows, steps = np.asarray(images), np.asarray(values)
    if rows.ndim != 3 or rows.shape[:2] != (len(names), len(steps)):
        raise ValueError(
            f"traversals needs images of shape ({len(names)}, {len(steps)}, pixels), got "
            f"{rows.shape}"
        )
    title = f"What each latent changes: mean of p(x|z) as one latent moves{note}"
    tiles = np.stack([images_of(row, image_shape) for row in rows])
    return mosaic(
        tiles, title, limits, inverted,
        labels=names, columns=[f"{value:g}" for value in steps], x=unit,
    )  # fmt: skip


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
    tiles = images_of(images, image_shape)
    side = math.isqrt(len(tiles))
    if side * side != len(tiles):
        raise ValueError(f"manifold needs a square number of images, got {len(tiles)}")
    height, width, *colors = tiles.shape[1:]
    square = tiles.reshape(side, side, height, width, *colors).swapaxes(1, 2)
    title = f"What the latent space decodes to: mean of p(x|z) at {side} x {side} points z{note}"
    figure = sheet(0.6 + 5.8 * min(height / width, 2), title)
    axes = figure.subplots()
    canvas = square.reshape(side * height, side * width, *colors)
    show(axes, canvas, limits, inverted)
    quantiles = quantile_grid(side)[:side, 0]
    ticks = min(side, 7 if side % 2 else 8)  # placed symmetrically about the median
    shown = np.unique(np.linspace(0, side - 1, ticks).round().astype(int))
    texts = [f"{quantiles[index]:.2f}" for index in shown]
    axes.set_xticks((shown + 0.5) * width - 0.5, texts)
    axes.set_yticks((side - shown - 0.5) * height - 0.5, texts)
    axes.tick_params(labelsize=SMALL)
    axes.set_xlabel(
        "z_0, in standard deviations of the prior, at quantiles of the normal", fontsize=LABEL
    )
    axes.set_ylabel("z_1", fontsize=LABEL)
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
