"""The curves of a training."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def training_curves(history: xr.Dataset) -> Figure:
    """Draw ELBO, reconstruction and KL over the steps of a training.

    A single evaluation is a point.

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
    splits = (("train", "--", "#D55E00", "s"), ("validation", "-", "#0072B2", "o"))
    for axes, (name, title) in zip(figure.subplots(1, 3), panels, strict=True):
        for split, style, color, marker in splits:
            values = history.get(f"{split}_{name}")
            if values is not None and bool(np.isfinite(values).any()):
                # A line needs two neighbours; a lone value would not be seen.
                shown = marker if _has_lone_value(values.values) else None
                look = {"linestyle": style, "color": color, "marker": shown, "label": split}
                axes.plot(values.step, values, **look, linewidth=1.2, markersize=5)
        axes.set_title(title)
        axes.set_xlabel("step")
        _focus(axes)
        if not axes.lines:
            axes.text(0.5, 0.5, "not measured", ha="center", transform=axes.transAxes)
            axes.set(xticks=[], yticks=[])
    figure.axes[0].set_ylabel("nats per datapoint")
    drawn = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    figure.legend(drawn.values(), drawn.keys(), frameon=False, loc="outside right upper")
    return figure


def _has_lone_value(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    return bool((finite[1:-1] & ~finite[:-2] & ~finite[2:]).any())


def _focus(axes: Axes) -> None:
    """Choose limits without the first steep rise, which would flatten the rest of the curve."""
    curves = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    tails = [curve[len(curve) // 20 :] for curve in curves]
    shown = np.concatenate([tail[np.isfinite(tail)] for tail in tails] or [np.empty(0)])
    if shown.size:
        margin = 0.05 * (shown.max() - shown.min()) or 1.0
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
    axes.spines[["top", "right"]].set_visible(False)
