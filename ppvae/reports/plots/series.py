"""Series: datapoints that are sequences, drawn as lines."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.sheets import legend_below, plain, sheet

_ACROSS = 3  # panels in a row
_PANELS = 12  # in a figure
_NAME = 26  # characters of a panel's title
_DOTS = 60  # steps up to which each has a dot
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "black", "linewidth": 0.8},
    {"color": "#0072B2", "linewidth": 1.8},
    {"color": "#56B4E9", "alpha": 0.4, "linewidth": 0},
)

_Values = NDArray[np.float64]


def series_panels(
    values: ArrayLike,
    names: Sequence[str],
    title: str,
    *,
    center: ArrayLike | None = None,
    band: tuple[ArrayLike, ArrayLike] | None = None,
    features: Sequence[str] = (),
    legend: tuple[str, str, str] = ("data", "median of the model", "interval of the model"),
    x: str = "step",
) -> Figure:
    """Draw series as lines: their values, and what a model says of them.

    A series of one feature has a panel, one of several a row of panels, for its first three
    features. As many series are drawn as twelve panels take.

    Args:
        values: `(series, steps, features)`; NaN is missing, and leaves a gap in the line.
        names: what each series is called.
        title: what the figure shows.
        center: the model's line, of the shape of `values`.
        band: the lower and the upper end of its interval, each of the shape of `values`.
        features: what the features are called.
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
    given = [part for part in (center, *(band or ())) if part is not None]
    parts = [seen, *(np.asarray(part, dtype=float) for part in given)]
    if seen.ndim != 3 or len(seen) != len(names) or {part.shape for part in parts} != {seen.shape}:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise ValueError(
            f"series_panels needs arrays of shape ({len(names)}, steps, features), got {shapes}"
        )
    drawn = min(seen.shape[2], _ACROSS)
    across = min(_ACROSS, len(seen)) if drawn == 1 else drawn
    count = min(len(seen), _PANELS // drawn)
    named = list(features[:drawn]) or [f"feature {number}" for number in range(drawn)]
    down = math.ceil(count * drawn / across)
    more = f"; {seen.shape[2] - drawn} more features not drawn" if seen.shape[2] > drawn else ""
    figure = sheet(1.4 * down + 0.4, f"{title}{more}", f"{count} series: {', '.join(names)}")
    # Features may have units of their own.
    share: Any = "all" if drawn == 1 else "col"
    panels = figure.subplots(down, across, squeeze=False, sharex="all", sharey=share).ravel()
    for place, axes in enumerate(panels):
        if place >= count * drawn:
            axes.set_visible(False)
            continue
        series, feature = divmod(place, drawn)
        name = names[series] if drawn == 1 else f"{names[series]}, {named[feature]}"
        last = place + across >= count * drawn
        plain(axes, name if len(name) <= _NAME else f"{name[: _NAME - 2]}..", x=x * last)
        axes.tick_params(labelbottom=last)
        axes.locator_params(axis="y", nbins=4)
        _draw(axes, [part[series, :, feature] for part in parts], center is not None)
        if drawn == 1 or place < across:
            _limit(axes, [p[:count] if drawn == 1 else p[:count, :, feature] for p in parts])
    dots = seen.shape[1] <= _DOTS
    handles: list[Artist] = [Line2D([], [], **_LOOKS[0], marker="." if dots else None)]
    handles += [Line2D([], [], **_LOOKS[1])] if center is not None else []
    handles += [Patch(**_LOOKS[2])] if band is not None else []
    shown = (True, center is not None, band is not None)
    texts = [text for text, known in zip(legend, shown, strict=True) if known]
    legend_below(figure, handles, texts, columns=3)
    return figure


def _draw(axes: Axes, parts: Sequence[_Values], line: bool) -> None:
    """Draw values, the model's line if there is one, and its interval if there is one."""
    values, *others = parts
    steps = np.arange(len(values))
    if len(others) >= 2:
        axes.fill_between(steps, *others[-2:], **_LOOKS[2])
    if line:
        axes.plot(steps, others[0], **_LOOKS[1])
    dots = {"marker": ".", "markersize": 4} if len(steps) <= _DOTS else {}
    axes.plot(steps, values, **_LOOKS[0], **dots)


def _limit(axes: Axes, parts: Sequence[_Values]) -> None:
    """Choose limits around the values, and around a model that does not go far beyond."""
    known, every = (part[np.isfinite(part)] for part in (parts[0], np.stack(parts)))
    if not known.size:
        return
    wide = float(known.max() - known.min()) or 1.0
    low = max(float(every.min()), float(known.min()) - wide / 2)
    high = min(float(every.max()), float(known.max()) + wide / 2)
    axes.set_ylim(low - 0.05 * wide, high + 0.05 * wide)
