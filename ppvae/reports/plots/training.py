"""The curves of a training."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ppvae.reports.plots.sheets import LABEL, legend_below, plain, sheet

_BEGINNING = 0.15  # of the evaluations: what lies outside the range of the later ones is cut off
_PANELS = {
    "elbo": "ELBO, which training raises",
    "reconstruction": "reconstruction E_Q[log P(X|z)]",
    "kl": "KL[Q(z|X) || P(z)]",
}
_SPLITS = (("train", "--", "#D55E00", "s"), ("validation", "-", "#0072B2", "o"))
_MARKS = (":", "-.")


def training_curves(history: xr.Dataset, marks: Mapping[str, int | None] | None = None) -> Figure:
    """Draw ELBO, reconstruction and KL over the steps of a training.

    A single evaluation is a point. The steps have a logarithmic axis where half of what the ELBO
    gained, it gained in their first fiftieth.

    Args:
        history: a `Fit`'s history.
        marks: steps to be marked by a line, by what happened there, such as "best weights"; None
            where it did not happen.

    Raises:
        ValueError: if the history holds no evaluation.

    Example:
        >>> steps = {"step": [1, 2]}
        >>> elbo = xr.Dataset({"train_elbo": ("step", [-2.0, -1.0])}, coords=steps)
        >>> len(training_curves(elbo, {"best weights": 2}).axes)
        3
    """
    if not history.sizes.get("step"):
        raise ValueError("history holds no evaluation to draw")
    figure = sheet(4.4, "Training: each term of formula (2) by step", _last(history))
    panels = figure.subplot_mosaic([["elbo", "elbo"], ["reconstruction", "kl"]])
    logarithmic = _early(history)
    for name, title in _PANELS.items():
        axes = panels[name]
        for split, style, color, marker in _SPLITS:
            values = history.get(f"{split}_{name}")
            if values is not None and bool(np.isfinite(values).any()):
                # A line needs two neighbours; a lone value would not be seen.
                shown = marker if _has_lone_value(values.values) else None
                axes.plot(
                    values.step, values, linestyle=style, color=color, marker=shown, label=split,
                    linewidth=1.3, markersize=5,
                )  # fmt: skip
        plain(axes, title, x="step", y="nats per datapoint")
        axes.locator_params(axis="y", nbins=6)
        if not axes.lines:
            axes.text(
                0.5, 0.5, "not measured", ha="center", transform=axes.transAxes, fontsize=LABEL
            )
            axes.set(xticks=[], yticks=[])
            continue
        _focus(axes)
        for look, (what, step) in zip(_MARKS, (marks or {}).items(), strict=False):
            if step is not None:
                label = f"{what} (step {step})"
                axes.axvline(step, color="0.3", linestyle=look, linewidth=1.2, label=label)
        if logarithmic:
            axes.set_xscale("log")
        else:
            axes.locator_params(axis="x", nbins=8 if name == "elbo" else 5)
    drawn = {str(line.get_label()): line for axes in figure.axes for line in axes.lines}
    legend_below(figure, list(drawn.values()), list(drawn), columns=2)
    return figure


def _last(history: xr.Dataset) -> str:
    """Say where the ELBO ended."""
    ends = []
    for split, *_ in _SPLITS:
        values = history.get(f"{split}_elbo")
        if values is not None and np.isfinite(values[-1]):
            ends.append(f"{float(values[-1]):.2f} on {split} data")
    step = int(history.step[-1])
    return f"After {step} steps the ELBO is {', '.join(ends)}" if ends else ""


def _early(history: xr.Dataset) -> bool:
    """Tell whether the ELBO gained half of its rise in the first fiftieth of the steps."""
    values = history.get("validation_elbo", history.get("train_elbo"))
    steps = history.step.values
    if values is None or len(steps) < 10 or steps[0] < 1:
        return False
    known = values.values[np.isfinite(values.values)]
    half = len(known) and values.values >= (known[0] + known[-1]) / 2
    return bool(np.any(half)) and bool(steps[np.argmax(half)] <= steps[-1] / 50)


def _has_lone_value(values: NDArray[np.float64]) -> bool:
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    return bool((finite[1:-1] & ~finite[:-2] & ~finite[2:]).any())


def _focus(axes: Axes) -> None:
    """Choose limits without the first steep rise, which would flatten the rest of the curve."""
    curves = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    tails = [curve[int(len(curve) * _BEGINNING) :] for curve in curves]
    shown = np.concatenate([tail[np.isfinite(tail)] for tail in tails])
    if shown.size:
        margin = 0.05 * (shown.max() - shown.min()) or 1.0
        axes.set_ylim(shown.min() - margin, shown.max() + margin)
