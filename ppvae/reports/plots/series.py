"""Series: datapoints that are sequences, drawn as lines."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.sheets import legend_below, plain, sheet

_ACROSS = 3  # panels in a row
_PANELS = 9  # in a figure
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
    features. As many series are drawn as nine panels take.

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
    more = _left_out(seen.shape[2])
    figure = sheet(0.4, title + more, f"{len(names)} series, such as {names[0]}")
    for axes, series, feature in _panels(figure, names, seen.shape[2], features, x):
        _draw(axes, [part[series, :, feature] for part in parts], center is not None)
        _limit(axes, [part[:_PANELS, :, feature] for part in parts])
    dots = seen.shape[1] <= _DOTS
    handles: list[Artist] = [Line2D([], [], **_LOOKS[0], marker="." if dots else None)]
    handles += [Line2D([], [], **_LOOKS[1])] if center is not None else []
    handles += [Patch(**_LOOKS[2])] if band is not None else []
    shown = (True, center is not None, band is not None)
    texts = [text for text, known in zip(legend, shown, strict=True) if known]
    legend_below(figure, handles, texts, columns=3)
    return figure


def series_traversals(
    lines: ArrayLike,
    names: Sequence[str],
    values: ArrayLike,
    *,
    features: Sequence[str] = (),
    note: str = "",
    unit: str = "value of z",
    x: str = "step",
) -> Figure:
    """Draw how the decoded series changes along each latent dimension.

    Args:
        lines: decoded series `(dimensions, values, steps, features)`.
        names: what each dimension is called.
        values: the latent's values, at most 7.
        features: what the features are called; the first three are drawn.
        note: what else the title says.
        unit: what the values are.
        x: what the steps are.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> lines = np.cumsum(np.ones((2, 3, 9, 1)), axis=2)
        >>> figure = series_traversals(lines, ["z_0", "z_1"], [-1, 0, 1])
        >>> [len(axes.lines) for axes in figure.axes]
        [3, 3]
    """
    moved, steps = np.asarray(lines, dtype=float), np.asarray(values)
    if moved.ndim != 4 or moved.shape[:2] != (len(names), len(steps)):
        raise ValueError(
            f"series_traversals needs lines of shape ({len(names)}, {len(steps)}, steps, "
            f"features), got {moved.shape}"
        )
    title = f"What each latent changes: mean of p(x|z) as one latent moves{note}"
    figure = sheet(0.4, title + _left_out(moved.shape[3]), f"Latents {', '.join(names)}")
    # From dark to light, in gray too; the lightest colours would not be seen on white.
    colors = colormaps["viridis"](np.linspace(0, 0.85, len(steps)))
    looks = [
        {"color": color, "linestyle": style, "linewidth": 1.6}
        for color, style in zip(colors, itertools.cycle(("-", "--", "-.", ":")), strict=False)
    ]
    for axes, latent, feature in _panels(figure, names, moved.shape[3], features, x):
        for line, look in zip(moved[latent, :, :, feature], looks, strict=True):
            axes.plot(line, **look)
        _limit(axes, [moved[:_PANELS, :, :, feature]])
    handles = [Line2D([], [], **look) for look in looks]
    texts = [f"{value:g}" for value in steps]
    legend_below(figure, handles, texts, columns=len(steps), title=unit)
    return figure


def _left_out(features: int) -> str:
    return f"; {features - _ACROSS} more features not drawn" if features > _ACROSS else ""


def _panels(
    figure: Figure, names: Sequence[str], features: int, called: Sequence[str], x: str
) -> Iterator[tuple[Axes, int, int]]:
    """Add panels to a figure; yield each with the number of its series and of its feature."""
    drawn = min(features, _ACROSS)
    count = min(len(names), _PANELS // drawn)
    across = min(_ACROSS, count) if drawn == 1 else drawn
    down = math.ceil(count * drawn / across)
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 1.4 * down)
    # Features may have units of their own.
    share: Any = "all" if drawn == 1 else "col"
    panels = figure.subplots(down, across, squeeze=False, sharex="all", sharey=share).ravel()
    for place, axes in enumerate(panels):
        if place >= count * drawn:
            axes.set_visible(False)
            continue
        series, feature = divmod(place, drawn)
        name = names[series]
        if drawn > 1:
            name += f", {called[feature] if feature < len(called) else f'feature {feature}'}"
        last = place + across >= count * drawn
        plain(axes, name if len(name) <= _NAME else f"{name[: _NAME - 2]}..", x=x * last)
        axes.tick_params(labelbottom=last)
        axes.locator_params(axis="y", nbins=4)
        yield axes, series, feature


def _draw(axes: Axes, parts: Sequence[_Values], line: bool) -> None:
    """Draw values, the model's line if there is one, and its interval if there is one."""
    values, *others = parts
    steps = np.arange(len(values))
    if len(others) >= 2:
        axes.fill_between(steps, others[-2], others[-1], **_LOOKS[2])
    if line:
        axes.plot(steps, others[0], **_LOOKS[1])
    dots: dict[str, Any] = {"marker": ".", "markersize": 4} if len(steps) <= _DOTS else {}
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
