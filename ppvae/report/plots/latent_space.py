"""Where datapoints lie in latent space, and the KL of each latent dimension."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike


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
    latents: ArrayLike, labels: ArrayLike | None = None, names: tuple[str, str] = ("z_0", "z_1")
) -> Figure:
    """Draw the posterior means of datapoints in two latent dimensions, colored by label.

    Args:
        latents: posterior means `(data, 2)`.
        labels: the class of each datapoint, or a number such as a known factor; the name of a
            class stands at its median.
        names: what the two dimensions are called.

    Raises:
        ValueError: if there are not two dimensions.

    Example:
        >>> len(latent_scatter(np.zeros((5, 2)), labels=np.arange(5)).axes[0].texts)
        5
    """
    points = np.asarray(latents)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"latent_scatter needs latents of shape (data, 2), got {points.shape}")
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.subplots()
    values = None if labels is None else np.asarray(labels)
    classes = [] if values is None or values.dtype.kind == "f" else list(np.unique(values))
    look: dict[str, Any] = {"color": "0.3"}
    if values is not None:
        look = {"c": values, "cmap": "viridis"}
    size = min(12.0, 6000 / len(points))
    drawn = axes.scatter(points[:, 0], points[:, 1], s=size, linewidths=0, **look)
    for name in classes if len(classes) <= 30 else []:
        x, y = np.median(points[values == name], axis=0)
        text = axes.text(x, y, str(name), ha="center", va="center", fontweight="bold")
        text.set_path_effects([withStroke(linewidth=3, foreground="white")])
    if values is not None and not classes:
        figure.colorbar(drawn, ax=axes, label="factor")
    axes.set_xlabel(f"mean of {names[0]} under q(z|x)")
    axes.set_ylabel(f"mean of {names[1]} under q(z|x)")
    axes.set_title("datapoints in latent space" + (", by label" if classes else ""))
    axes.spines[["top", "right"]].set_visible(False)
    return figure
