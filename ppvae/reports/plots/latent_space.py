"""Where datapoints lie in latent space, and the KL of each latent dimension."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.styles import DISTINCT, point_style


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


def latent_scatter(
    latents: ArrayLike,
    labels: ArrayLike | None = None,
    names: tuple[str, str] = ("z_0", "z_1"),
    factor: str = "factor",
    class_names: Sequence[str] = (),
) -> Figure:
    """Draw the posterior means of datapoints in two latent dimensions, colored by label.

    Args:
        latents: posterior means `(data, 2)`.
        labels: the class of each datapoint, each with a colour and marker of its own, and its
            name at its median; or a number such as a known factor, on a scale of colours. Up to
            28 classes can be told apart; the points of more have one colour.
        names: what the two dimensions are called.
        factor: what a number in `labels` is called.
        class_names: what the classes are called, where `labels` are their numbers from 0.

    Raises:
        ValueError: if there are not two dimensions.

    Example:
        >>> len(latent_scatter(np.zeros((5, 2)), labels=np.arange(5)).axes[0].texts)
        5
    """
    points = np.asarray(latents)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"latent_scatter needs latents of shape (data, 2), got {points.shape}")
    figure = Figure(figsize=(6.4, 5), layout="constrained")
    axes = figure.subplots()
    values = None if labels is None else np.asarray(labels)
    size = min(16.0, max(4.0, 12000 / max(len(points), 1)))
    title, (x, y) = "datapoints in latent space", points.T
    if values is not None and values.dtype.kind == "f":
        drawn = axes.scatter(x, y, s=size, linewidths=0, c=values, cmap="viridis")
        figure.colorbar(drawn, ax=axes, label=factor)
        title += f", by {factor}"
    elif values is not None and len(classes := np.unique(values)) <= DISTINCT:
        _draw_classes(axes, points, values, classes, size, class_names)
        title += ", by label"
    else:
        axes.scatter(x, y, s=size, linewidths=0, color="0.3")
    axes.set_xlabel(f"mean of {names[0]} under q(z|x)")
    axes.set_ylabel(f"mean of {names[1]} under q(z|x)")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_classes(
    axes: Axes,
    points: NDArray[Any],
    values: NDArray[Any],
    classes: NDArray[Any],
    size: float,
    names: Sequence[str],
) -> None:
    known = dict(enumerate(names))
    shown = [known.get(int(each), str(each)) if known else str(each) for each in classes]
    looks = [point_style(index) for index in range(len(classes))]
    for look in looks:
        look["linewidths"] = 0.8 if look["marker"] == "x" else 0
    # In several rounds: a class that is drawn after all others would hide them.
    order = np.random.default_rng(0).permutation(len(points))
    for part in np.array_split(order, 8):
        for name, look in zip(classes, looks, strict=True):
            here = part[values[part] == name]
            axes.scatter(points[here, 0], points[here, 1], s=size, **look)
    for each, name, look in zip(classes, shown, looks, strict=True):
        axes.scatter([], [], s=30, **look, label=name)
        x, y = np.median(points[values == each], axis=0)
        text = axes.text(x, y, name, ha="center", va="center", fontweight="bold")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    axes.legend(title="label", frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
