"""Figures: functions of arrays that return a matplotlib figure and never show it."""

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray


def training_curves(history: xr.Dataset) -> Figure:
    """Draw ELBO, reconstruction and KL over the steps of a training.

    Args:
        history: a `Fit`'s history.

    Raises:
        ValueError: if the history holds no evaluation.

    Example:
        >>> steps = {"step": [1, 2]}
        >>> elbo = xr.Dataset({"train_elbo": ("step", [-2.0, -1.0])}, coords=steps)
        >>> len(training_curves(elbo).axes)
        3
    """
    if not history.sizes.get("step"):
        raise ValueError("history holds no evaluation to draw")
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = (
        ("elbo", "ELBO"),
        ("reconstruction", "reconstruction  E[log p(x|z)]"),
        ("kl", "KL[q(z|x) || p(z)]"),
    )
    for axes, (name, title) in zip(figure.subplots(1, 3), panels, strict=True):
        for split, style in (("train", "--"), ("validation", "-")):
            if f"{split}_{name}" in history:
                values = history[f"{split}_{name}"]
                axes.plot(values.step, values, style, color="black", label=split, linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel("step")
        _focus(axes)
        if axes.lines:
            axes.legend(frameon=False)
    figure.axes[0].set_ylabel("nats per datapoint")
    return figure


def kl_bars(kl: xr.DataArray) -> Figure:
    """Draw the KL of each latent dimension as bars, the largest first.

    Args:
        kl: what `diagnostics.kl_per_dimension` returned.

    Example:
        >>> len(kl_bars(xr.DataArray([0.1, 2.0], dims="z_dim_0")).axes[0].patches)
        2
    """
    values = np.asarray(kl).reshape(-1)
    order = np.argsort(values)[::-1]
    figure = Figure(figsize=(max(4.0, 0.3 * len(values) + 1.5), 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(values)), values[order], color="0.4", width=0.8)
    axes.set_xticks(range(len(values)), [str(index) for index in order])
    axes.tick_params(axis="x", labelsize=9 if len(values) <= 30 else 5)
    axes.set_xlabel("latent dimension")
    axes.set_ylabel("nats per datapoint")
    axes.set_title(f"KL of each latent dimension, {values.sum():.1f} nats in all")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def image_rows(rows: dict[str, ArrayLike], image_shape: tuple[int, int], title: str) -> Figure:
    """Draw images in labelled rows, one below the other, dark on light.

    Args:
        rows: images `(images, height * width)` by label, the same number in each.
        image_shape: height and width.
        title: what the figure shows.

    Raises:
        ValueError: if there are no rows, or their numbers of images differ.

    Example:
        >>> figure = image_rows({"data": np.zeros((3, 4))}, (2, 2), "three images")
        >>> len(figure.axes)
        3
    """
    images = {label: _images(values, image_shape) for label, values in rows.items()}
    counts = {len(values) for values in images.values()}
    if len(counts) != 1:
        raise ValueError(f"image_rows needs rows of one length, got {sorted(counts)}")
    (columns,) = counts
    figure = Figure(figsize=(0.62 * columns + 1.3, 0.62 * len(images) + 0.5), layout="constrained")
    grid = figure.subplots(len(images), columns, squeeze=False)
    low = min(float(values.min()) for values in images.values())
    high = max(float(values.max()) for values in images.values())
    for axes_row, (label, values) in zip(grid, images.items(), strict=True):
        for axes, image in zip(axes_row, values, strict=True):
            _image(axes, image, low, high)
        axes_row[0].set_ylabel(label, rotation=0, ha="right", va="center")
    figure.suptitle(title, fontsize="medium")
    return figure


def image_grid(values: ArrayLike, image_shape: tuple[int, int], title: str) -> Figure:
    """Draw images in a grid as near to square as their number allows, dark on light.

    Args:
        values: images `(images, height * width)`.
        image_shape: height and width.
        title: what the figure shows.

    Example:
        >>> len(image_grid(np.zeros((6, 4)), (2, 2), "six images").axes)
        6
    """
    images = _images(values, image_shape)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(0.62 * columns + 0.3, 0.62 * rows + 0.5), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, image in zip(grid, images, strict=False):
        _image(axes, image, float(images.min()), float(images.max()))
    for axes in grid[len(images) :]:
        axes.remove()
    figure.suptitle(title, fontsize="medium")
    return figure


def _images(values: ArrayLike, image_shape: tuple[int, int]) -> NDArray[Any]:
    return np.asarray(values).reshape(-1, *image_shape)


def _image(axes: Axes, image: NDArray[Any], low: float, high: float) -> None:
    axes.imshow(image, cmap="gray_r", vmin=low, vmax=high)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _focus(axes: Axes) -> None:
    """Leave the first steep rise out of view where it would flatten all that follows."""
    curves = [np.asarray(line.get_ydata()) for line in axes.lines]
    tails = [curve[len(curve) // 20 :] for curve in curves]
    if tails:
        low, high = min(tail.min() for tail in tails), max(tail.max() for tail in tails)
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.spines[["top", "right"]].set_visible(False)
