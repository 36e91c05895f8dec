"""Series: datapoints that are sequences, drawn as lines."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.sheets import SMALL, plain, sheet
from ppvae.reports.plots.styles import line_style

_ACROSS = 3  # panels in a row
_FEATURES = 3  # of a series that are drawn
_NAME = 24  # characters

_Values = NDArray[np.float64]


def series_panels(
    values: ArrayLike,
    names: Sequence[str],
    title: str,
    *,
    center: ArrayLike | None = None,
    band: tuple[ArrayLike, ArrayLike] | None = None,
    features: Sequence[str] = (),
    limits: tuple[float, float] | None = None,
    legend: tuple[str, str, str] = ("data", "median of the model", "interval of the model"),
    x: str = "step",
) -> Figure:
    """Draw series in a panel each: their values, and what a model says of them.

    Args:
        values: `(series, steps, features)`; NaN is missing, and leaves a gap in the line.
        names: what each series is called.
        title: what the figure shows.
        center: the model's line, of the shape of `values`.
        band: the lower and the upper end of its interval, each of the shape of `values`.
        features: what the features are called; the first 3 are drawn.
        limits: the ends of the axis of values; around the values and the model unless given.
        legend: what the values, the model's line and its interval are.
        x: what the steps are.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> walks = np.cumsum(np.ones((4, 9, 1)), axis=1)
        >>> figure = series_panels(walks, ["a", "b", "c", "d"], "four walks")
        >>> [axes.get_title(loc="left") for axes in figure.axes if axes.lines]
        ['a', 'b', 'c', 'd']
    """
    seen = np.asarray(values, dtype=float)
    others = [center] if center is not None else []
    parts = [np.asarray(part, dtype=float) for part in (*others, *(band or ()))]
    if seen.ndim != 3 or len(seen) != len(names) or {part.shape for part in parts} - {seen.shape}:
        shapes = ", ".join(str(part.shape) for part in (seen, *parts))
        raise ValueError(
            f"series_panels needs arrays of shape ({len(names)}, steps, features), got {shapes}"
        )
    line = parts[0] if center is not None else None
    ends = parts[-2:] if band is not None else []
    across = min(_ACROSS, len(seen))
    down = math.ceil(len(seen) / across)
    figure = sheet(1.45 * down + 0.9, title)
    panels = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True).ravel()
    for axes in panels[len(seen) :]:
        axes.set_visible(False)
    low, high = limits or _range([seen, *parts])
    for index, (axes, name) in enumerate(zip(panels, names, strict=False)):
        last_row = index + across >= len(seen)
        plain(axes, name if len(name) <= _NAME else f"{name[: _NAME - 2]}..", x=x * last_row)
        axes.tick_params(labelbottom=last_row)
        axes.set_ylim(low, high)
        _draw(axes, seen[index], None if line is None else line[index], [e[index] for e in ends])
    _explain(figure, legend, features, seen.shape[2], line is not None, bool(ends))
    return figure


def _draw(axes: Axes, values: _Values, line: _Values | None, ends: Sequence[_Values]) -> None:
    steps = np.arange(len(values))
    for feature in range(min(values.shape[1], _FEATURES)):
        color = line_style(feature)["color"]
        if ends:
            lower, upper = (end[:, feature] for end in ends)
            axes.fill_between(steps, lower, upper, color=color, alpha=0.22, linewidth=0)
        if line is not None:
            axes.plot(steps, line[:, feature], color=color, linewidth=1.6)
        axes.plot(
            steps, values[:, feature], color="black" if line is not None else color,
            linewidth=0.8, linestyle=("-", "--", ":")[feature],
            marker="." if len(steps) <= 40 else None, markersize=4,
        )  # fmt: skip


def _explain(
    figure: Figure,
    legend: tuple[str, str, str],
    features: Sequence[str],
    count: int,
    line: bool,
    band: bool,
) -> None:
    color = "0.4" if count > 1 else line_style(0)["color"]
    own = "black" if line else color
    handles: list[Line2D | Patch] = [Line2D([], [], color=own, linewidth=0.8, marker=".")]
    handles += [Line2D([], [], color=color, linewidth=1.6)] if line else []
    handles += [Patch(color=color, alpha=0.22)] if band else []
    texts = [text for text, shown in zip(legend, (True, line, band), strict=True) if shown]
    if count > 1:
        names = list(features[:_FEATURES]) or [
            f"feature {n}" for n in range(min(count, _FEATURES))
        ]
        for index, name in enumerate(names):
            style = ("-", "--", ":")[index]
            handles.append(Line2D([], [], color=line_style(index)["color"], linestyle=style))
            more = f" ({count - _FEATURES} more not drawn)" if count > _FEATURES else ""
            texts.append(name[:_NAME] + (more if index == _FEATURES - 1 else ""))
    figure.legend(
        handles, texts, frameon=False, loc="outside lower right", fontsize=SMALL,
        ncols=min(3, len(texts)),
    )  # fmt: skip


def _range(parts: Sequence[_Values]) -> tuple[float, float]:
    """Return limits around the values, and around a model that does not go far beyond."""
    known = parts[0][np.isfinite(parts[0])]
    every = np.concatenate([part[np.isfinite(part)] for part in parts])
    if not known.size:
        known = every if every.size else np.zeros(1)
    wide = max(float(known.max() - known.min()), 1e-9)
    low = max(float(every.min(initial=known.min())), float(known.min()) - wide)
    high = min(float(every.max(initial=known.max())), float(known.max()) + wide)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin
