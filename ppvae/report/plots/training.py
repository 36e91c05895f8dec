"""The curves of a training."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure


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


def _focus(axes: Axes) -> None:
    """Choose limits without the first steep rise, which would flatten the rest of the curve."""
    curves = [np.asarray(line.get_ydata()) for line in axes.lines]
    tails = [curve[len(curve) // 20 :] for curve in curves]
    if tails:
        low, high = min(tail.min() for tail in tails), max(tail.max() for tail in tails)
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    axes.spines[["top", "right"]].set_visible(False)
