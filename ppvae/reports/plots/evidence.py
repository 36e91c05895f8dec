"""Formula (2), the gap between ELBO and log P(X), and the weights behind the estimates."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import ArrayLike


def evidence_bars(summary: xr.Dataset) -> Figure:
    """Draw both sides of formula (2) as stacked bars that end at the same ELBO.

    Args:
        summary: what `diagnostics.summarize` returned.

    Example:
        >>> terms = ["reconstruction", "kl", "elbo", "log_evidence", "posterior_kl"]
        >>> mean = xr.Dataset({"mean": ("term", [-8.0, 2.0, -10.0, -9.0, 1.0])}, {"term": terms})
        >>> len(evidence_bars(mean).axes[0].patches)
        4
    """
    mean = {str(term): float(summary["mean"].sel(term=term)) for term in summary.term.values}
    sides = (
        ("log_evidence", "log P(X)", "posterior_kl", "KL[Q(z|X) || P(z|X)]"),
        ("reconstruction", "E_Q[log P(X|z)]", "kl", "KL[Q(z|X) || P(z)]"),
    )
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    for row, (first, first_name, second, second_name) in enumerate(reversed(sides)):
        begin = mean[first]
        axes.barh(row, begin, 0.4, color="0.8", edgecolor="black", linewidth=0.8)
        look: dict[str, Any] = {
            "color": "0.6",
            "edgecolor": "black",
            "linewidth": 0.8,
            "hatch": "//",
        }
        axes.barh(row, -mean[second], 0.4, begin, **look)
        text = f"{first_name} = {begin:.2f}, minus {second_name} = {mean[second]:.2f}"
        axes.text(0, row + 0.26, text, ha="right" if mean["elbo"] < 0 else "left", va="bottom")
    axes.axvline(mean["elbo"], color="black", linestyle="--", linewidth=1)
    axes.set_yticks([0, 1], ["right side", "left side"])
    axes.set_ylim(-0.4, 1.6)
    low, high = min(mean["elbo"], 0.0), max(mean["log_evidence"], mean["reconstruction"], 0.0)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel("nats per datapoint")
    axes.set_title(f"formula (2): both sides end at the ELBO, {mean['elbo']:.2f}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def pareto_k(k: ArrayLike, threshold: float) -> Figure:
    """Draw the Pareto shape k of each datapoint's importance weights, with its thresholds.

    Args:
        k: estimates of k, `(data,)`; constant weights have k = -inf, drawn at the bottom.
        threshold: above it there are too few draws to trust log P(X); above 1 more draws do not
            help.

    Example:
        >>> len(pareto_k([0.2, 0.8, -np.inf], 0.67).axes[0].lines)
        3
    """
    values = np.asarray(k, dtype=float)
    finite = values[np.isfinite(values)]
    bottom = min(0.0, float(finite.min()) if finite.size else 0.0) - 0.1
    shown = np.where(np.isfinite(values), values, bottom)
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.subplots()
    size = min(14.0, max(2.0, 4000 / max(len(shown), 1)))
    axes.scatter(range(len(shown)), shown, s=size, color="0.25", linewidths=0)
    for level, style, text in (
        (0.5, ":", "0.5: good below"),
        (threshold, "--", f"{threshold:.2f}: usable below"),
        (1.0, "-", "1: more draws do not help above"),
    ):
        axes.axhline(level, linestyle=style, color="black", linewidth=1, label=text)
    axes.set_xlabel("datapoint")
    axes.set_ylabel("Pareto k")
    above = int((values > threshold).sum())
    axes.set_title(f"importance weights: k above {threshold:.2f} for {above} of {len(values)}")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
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
        ("approximation", "due to the family", "0.6"),
        ("amortization", "due to the encoder", "0.6"),
    )
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axes = figure.subplots()
    begin, labels = 0.0, []
    for row, (name, label, color) in enumerate(rows):
        mean, error = (float(summary[key].sel(term=name)) for key in ("mean", "standard_error"))
        axes.barh(-row, mean, 0.6, begin, color=color, edgecolor="black", linewidth=0.8)
        axes.errorbar(begin + mean, -row, xerr=2 * error, color="black", capsize=3, linewidth=1)
        labels.append(f"{label}: {mean:.2f}")
        begin = mean if name == "approximation" else 0.0
    axes.set_yticks([0, -1, -2], labels)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("nats per datapoint, with two standard errors")
    axes.set_title("KL[Q(z|X) || P(z|X)] and its two parts")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure
