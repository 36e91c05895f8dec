"""Formula (2), and the gap between ELBO and log P(X)."""

import math
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from ppvae.reports.plots.sheets import LABEL, SMALL, legend_below, plain, sheet

_WHOLE: dict[str, Any] = {"facecolor": "0.85", "edgecolor": "0.25", "linewidth": 0.8}
_TAKEN: dict[str, Any] = {
    "facecolor": "#56B4E9", "edgecolor": "black", "linewidth": 0.8, "hatch": "///",
}  # fmt: skip
_SIDES = (
    ("log_evidence", "log P(X)", "how probable the model finds the data; larger is better"),
    ("posterior_kl", "KL[Q(z|X) || P(z|X)]", "how far Q is from the true posterior; 0 is best"),
    ("reconstruction", "E_Q[log P(X|z)]", "how well z gives X back; larger is better"),
    ("kl", "KL[Q(z|X) || P(z)]", "how much z tells of X; 0: nothing"),
)
_DIGIT = 0.075  # inches


def evidence_bars(summary: xr.Dataset, trusted: ArrayLike | None = None) -> Figure:
    """Draw both sides of formula (2) as bars that end at the same ELBO.

    On each side the light bar reaches from 0 to a log density, and the hatched one from there back
    to the ELBO; it is as long as the KL divergence that is subtracted. The axis shows the hatched
    bars at a size at which they can be compared; 0 may lie beyond it.

    Args:
        summary: what `diagnostics.summarize` returned; standard errors are written where it has
            them.
        trusted: for which datapoints log P(X) is trusted, `(data,)`, as `diagnostics.evidence`
            says; if not for all, the figure says what that means.

    Example:
        >>> terms = ["reconstruction", "kl", "elbo", "log_evidence", "posterior_kl"]
        >>> mean = xr.Dataset({"mean": ("term", [-8.0, 2.0, -10.0, -9.0, 1.0])}, {"term": terms})
        >>> [len(axes.patches) for axes in evidence_bars(mean).axes]
        [2, 2]
    """
    mean = {str(term): float(summary["mean"].sel(term=term)) for term in summary.term.values}
    elbo, errors = mean["elbo"], "standard_error" in summary
    known = errors and math.isfinite(float(summary.standard_error.sel(term="elbo")))
    shown = {
        term: _number(value, summary.standard_error.sel(term=term) if known else None)
        for term, value in mean.items()
    }
    title = f"Formula (2): both sides end at the same ELBO, {mean['elbo']:.2f} nats per datapoint"
    words = "; ".join(f"{name} = {shown[term]}, {meaning}" for term, name, meaning in _SIDES)
    sure = np.asarray([True] if trusted is None else trusted, dtype=bool)
    doubt = ""
    if not sure.all():
        doubt = f"log P(X) is trusted for {sure.sum()} of {sure.size} datapoints; of the others "
        doubt += "it is too low as a rule"
    figure = sheet(3.5, title, ". ".join(filter(None, (words, doubt))))
    panels = figure.subplots(2, 1, sharex=True)
    low, high = _view(mean)
    for axes, (whole, taken) in zip(panels, (_SIDES[:2], _SIDES[2:]), strict=True):
        begin = mean[whole[0]]
        axes.barh(0, begin, 1, **_WHOLE)
        # Lower than the light bar, which it covers where this lies on the same side of 0.
        axes.barh(0, -mean[taken[0]], 0.6, begin, **_TAKEN)
        axes.axvline(elbo, color="black", linestyle="--", linewidth=1.4)
        plain(axes)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(low, high)
        axes.set_ylim(-0.75, 0.75)
        scale = 6.2 / (high - low)  # inches for a nat
        visible = (max(low, 0), max(elbo, 0)) if begin > 0 else (begin, min(high, 0))
        _write(axes, shown[whole[0]].split()[0], *visible, scale)
        _write(axes, f"{mean[taken[0]]:.2f}", elbo, begin, scale)
        axes.legend(
            [Patch(**_WHOLE), Patch(**_TAKEN)],
            [
                f"{sign}{name} = {shown[term]}: {meaning}"
                for sign, (term, name, meaning) in zip(("", "minus "), (whole, taken), strict=True)
            ],
            frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1), fontsize=SMALL,
            borderaxespad=0,
        )  # fmt: skip
    text = "nats per datapoint; the light bars begin at 0"
    if not low <= 0 <= high:
        text += f", further {'right' if high < 0 else 'left'}"
    panels[1].set_xlabel(text, fontsize=LABEL)
    panels[0].spines["bottom"].set_visible(False)
    panels[0].tick_params(axis="x", length=0)
    dashed = Line2D([], [], color="black", linestyle="--", linewidth=1.4)
    notes = [
        f"ELBO = {shown['elbo']}: what training raises; the dashed line, where both sides end",
        "X: a datapoint; z: its latent; P: the model; Q: the guide, which guesses z from X",
    ]
    notes += [doubt] if doubt else []
    blank = Line2D([], [], linestyle="")
    legend_below(figure, [dashed, *[blank] * (len(notes) - 1)], notes)
    return figure


def gap_bars(summary: xr.Dataset) -> Figure:
    """Draw KL[Q(z|X) || P(z|X)], and the parts of it due to the family and to the encoder.

    Args:
        summary: what `diagnostics.summarize` returned of `diagnostics.gaps`.

    Example:
        >>> names = ["approximation", "amortization", "total"]
        >>> columns = {"mean": ("term", [1.0, 2.0, 3.0]), "standard_error": ("term", [0.1] * 3)}
        >>> len(gap_bars(xr.Dataset(columns, {"term": names})).axes[0].patches)
        3
    """
    rows = (
        ("total", "the whole gap", "0.8"),
        ("approximation", "due to the family of Q", "0.6"),
        ("amortization", "due to the encoder", "0.6"),
    )
    parts = []
    bars = []
    begin = 0.0
    for name, label, color in rows:
        mean, error = (float(summary[key].sel(term=name)) for key in ("mean", "standard_error"))
        parts.append(f"{label}: {mean:.2f}")
        bars.append((begin, mean, error, color))
        begin = mean if name == "approximation" else 0.0
    title = "How far Q is from the true posterior: KL[Q(z|X) || P(z|X)] and its two parts"
    figure = sheet(2.2, title, "; ".join(parts))
    axes = figure.subplots()
    for row, (begin, mean, error, color) in enumerate(bars):
        axes.barh(-row, mean, 0.6, begin, color=color, edgecolor="black", linewidth=0.8)
        axes.errorbar(begin + mean, -row, xerr=2 * error, color="black", capsize=3, linewidth=1)
    plain(axes, x="nats per datapoint, with two standard errors")
    axes.set_yticks([0, -1, -2], parts, fontsize=LABEL)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _number(value: float, error: Any) -> str:
    return f"{value:.2f}" if error is None else f"{value:.2f} ± {float(error):.2f}"


def _view(mean: dict[str, float]) -> tuple[float, float]:
    """Return the ends of an axis on which the KL divergences are large; with 0 if that is near."""
    values = [mean[term] for term in ("elbo", "log_evidence", "reconstruction")]
    low, high = min(values), max(values)
    width = (high - low) or max(1.0, 0.1 * abs(low))
    if low - width <= 0 <= high + width:
        low, high = min(low, 0.0), max(high, 0.0)
        margin = 0.04 * (high - low)
        return low - margin, high + margin
    return low - 0.15 * width, high + 0.25 * width


def _write(axes: Axes, text: str, begin: float, end: float, scale: float) -> None:
    """Write a number on a bar that is long enough for it."""
    if abs(end - begin) * scale > len(text) * _DIGIT + 0.1:
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axes.text(
            (begin + end) / 2, 0, text, ha="center", va="center", fontsize=SMALL, bbox=box
        )  # fmt: skip
