"""The weights behind the estimates of log P(X)."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from ppvae.reports.plots.sheets import SMALL, legend_below, plain, sheet

_LOWEST, _HIGHEST = -1.0, 2.0  # values of k beyond these are drawn at the edge
_MANY = 2000  # points from which on a file of vectors holds them as an image


def pareto_k(k: ArrayLike, log_evidence: ArrayLike, threshold: float) -> Figure:
    """Draw the Pareto shape k of each datapoint's importance weights over its log P(X).

    Above the threshold there are too few draws to trust log P(X), which is then too low as a rule;
    above 1 more draws of the guide do not help. What lies below -1 or above 2 is drawn at the
    edge; constant weights have k = -inf.

    Args:
        k: estimates of k, `(data,)`.
        log_evidence: estimates of log P(X), `(data,)`, in nats.
        threshold: the k up to which log P(X) is trusted.

    Raises:
        ValueError: if there are not as many of both.

    Example:
        >>> figure = pareto_k([0.2, 0.8, -np.inf], [-90.0, -120.0, -80.0], 0.67)
        >>> [text.get_text().split(":")[0] for text in figure.axes[0].texts[:2]]
        ['trusted', 'not trusted']
    """
    values, log_p = np.asarray(k, dtype=float), np.asarray(log_evidence, dtype=float)
    if values.shape != log_p.shape or values.ndim != 1:
        raise ValueError(
            f"pareto_k needs k and log_evidence of one shape (data,), got {values.shape} and "
            f"{log_p.shape}"
        )
    trusted = int((values <= threshold).sum())
    between = int(((values > threshold) & (values <= 1)).sum())
    above = int((values > 1).sum())
    title = f"Pareto k: log P(X) is trusted for {trusted} of {len(values)} datapoints"
    low, high = values < _LOWEST, values > _HIGHEST
    inside = ~low & ~high
    top = _HIGHEST if above else 1.25
    bottom = min([0.0, *values[inside]]) - 0.1
    floor, ceiling = bottom - 0.15 if low.any() else bottom, top + 0.12
    figure = sheet(3.2, title, f"{between} need more draws, {above} have k above 1")
    axes = figure.subplots()
    size = min(14.0, max(3.0, 4000 / max(len(values), 1)))
    axes.axhspan(floor, threshold, color="#56B4E9", alpha=0.25, linewidth=0)
    axes.axhspan(1, ceiling, color="0.9", linewidth=0)
    axes.axhline(threshold, linestyle="--", color="black", linewidth=1)
    axes.axhline(1, linestyle="-", color="black", linewidth=1)
    for which, y, marker in (
        (inside, values, "o"),
        (high, np.full_like(values, _HIGHEST), "^"),
        (low, np.full_like(values, bottom - 0.05), "v"),
    ):
        axes.scatter(
            log_p[which], y[which], s=size if marker == "o" else 1.6 * size, marker=marker,
            color="0.2", linewidths=0, rasterized=len(values) > _MANY,
            alpha=0.5 if len(values) > _MANY else 1,
        )  # fmt: skip
    for middle, text in (
        ((floor + threshold) / 2, f"trusted: {trusted}\nk up to {threshold:.2f}"),
        ((threshold + 1) / 2, f"not trusted: {between}\nmore draws help"),
        ((1 + ceiling) / 2, f"not trusted: {above}\nmore draws do\nnot help"),
    ):
        axes.text(
            1.01, middle, text, transform=axes.get_yaxis_transform(), fontsize=SMALL, va="center",
            ma="left",
        )  # fmt: skip
    plain(axes, x="log P(X) of the datapoint, in nats", y="Pareto k of its weights")
    axes.set_ylim(floor, ceiling)
    axes.locator_params(axis="x", nbins=7)
    notes = {}
    if high.any():
        notes["^"] = f"{high.sum()} with k above {_HIGHEST:g}"
    if low.any():
        constant = int(np.isneginf(values).sum())
        more = int(low.sum()) - constant
        parts = []
        if constant:
            parts.append(f"{constant} with constant weights (k = -inf): Q is the posterior")
        if more:
            parts.append(f"{more} with k below {_LOWEST:g}")
        notes["v"] = ", ".join(parts)
    if notes:
        look: dict[str, Any] = {"color": "0.2", "linestyle": "", "markersize": 5}
        handles = [Line2D([], [], marker=marker, **look) for marker in notes]
        legend_below(figure, handles, list(notes.values()))
    return figure
