"""Where datapoints lie in latent space, and the KL of each latent dimension."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.density import draw_contours, draw_hexagons
from ppvae.reports.plots.sheets import LABEL, SMALL, legend_below, plain, sheet
from ppvae.reports.plots.styles import DISTINCT, point_style

_DENSE = 3000  # datapoints from which on their density is drawn, not each of them
_BARS = 40  # that have a name each
_NAME = 22  # characters of a class in the legend
_NAMED, _SHORT = 16, 8  # classes that are named among the points, and characters of their names

_Points = NDArray[np.float64]


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
    title = f"KL of each latent dimension, {values.sum():.1f} nats in all; near 0: not used"
    unused = int((values < 0.01).sum())
    words = f"The largest is {values.max():.2f}; {unused} of {len(values)} are below 0.01"
    figure = sheet(2.8, title, words)
    axes = figure.subplots()
    axes.bar(range(len(values)), values[order], color="0.4", width=0.8)
    plain(axes, x="number of the latent dimension", y="nats per datapoint")
    places = range(0, len(values), math.ceil(len(values) / _BARS))
    axes.set_xticks(places, [str(order[place]) for place in places])
    axes.set_xlim(-0.75, max(len(values), 6) - 0.25)
    return figure


def latent_scatter(
    latents: ArrayLike,
    labels: ArrayLike | None = None,
    names: tuple[str, str] = ("z_0", "z_1"),
    factor: str = "factor",
    class_names: Sequence[str] = (),
    standard_normal: bool = False,
) -> Figure:
    """Draw the posterior means of datapoints in two latent dimensions, colored by label.

    From 3,000 datapoints on their density is drawn: of each class the contour that holds half of
    its datapoints.

    Args:
        latents: posterior means `(data, 2)`.
        labels: the class of each datapoint, each with a colour and marker of its own, and its
            name at its median; or a number such as a known factor, on a scale of colours. Up to
            28 classes can be told apart; the points of more have one colour.
        names: what the two dimensions are called.
        factor: what a number in `labels` is called.
        class_names: what the classes are called, where `labels` are their numbers from 0.
        standard_normal: draw circles at 1 and 2 standard deviations of N(0, I).

    Raises:
        ValueError: if there are not two dimensions.

    Example:
        >>> len(latent_scatter(np.zeros((5, 2)), labels=np.arange(5)).axes[0].texts)
        5
    """
    points = np.asarray(latents, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"latent_scatter needs latents of shape (data, 2), got {points.shape}")
    values = None if labels is None else np.asarray(labels)
    classes = None if values is None or values.dtype.kind == "f" else np.unique(values)
    dense, title, (x, y) = len(points) >= _DENSE, "Where datapoints lie in latent space", points.T
    if classes is not None and len(classes) <= DISTINCT:
        title += ", by class" + ("; each line holds half of its class" if dense else "")
    elif values is not None and values.dtype.kind == "f":
        title += f", by {factor}" + (": its mean in each cell" if dense else "")
    figure = sheet(4.9, title, f"{len(points)} datapoints, by {names[0]} and {names[1]}")
    axes = figure.subplots()
    plain(axes, x=f"mean of {names[0]} under q(z|x)", y=f"mean of {names[1]} under q(z|x)")
    _frame(axes, points)
    size = min(16.0, max(5.0, 12000 / max(len(points), 1)))
    if classes is not None and len(classes) <= DISTINCT:
        assert values is not None
        shown = _names_of(classes, class_names)
        if dense:
            draw_hexagons(axes, points, None, alpha=0.45)
            draw_contours(axes, points, values, classes, shown)
        else:
            _draw_classes(axes, points, values, classes, size, shown)
        if len(shown) <= _NAMED and max(map(len, shown)) <= _SHORT:
            _name_classes(axes, points, values, classes, shown)
        axes.legend(
            frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=SMALL,
            labelspacing=0.5 if len(shown) <= _NAMED else 0.25,
        )  # fmt: skip
    elif values is not None and values.dtype.kind == "f":
        if dense:
            drawn: Any = draw_hexagons(axes, points, values)
        else:
            drawn = axes.scatter(x, y, s=size, linewidths=0, c=values, cmap="viridis")
        _color_bar(figure, axes, drawn, factor)
    elif dense:
        _color_bar(figure, axes, draw_hexagons(axes, points, None), "datapoints in a cell")
    else:
        axes.scatter(x, y, s=size, linewidths=0, color="0.3")
    if standard_normal:
        _draw_circles(figure, axes)
    return figure


def _frame(axes: Axes, points: _Points) -> None:
    """Give both axes one scale, and limits around the points."""
    known = points[np.isfinite(points).all(1)]
    if len(known):
        low, high = known.min(0), known.max(0)
        half, middle = 0.54 * max(*(high - low), 0.1), (low + high) / 2
        axes.set_xlim(middle[0] - half, middle[0] + half)
        axes.set_ylim(middle[1] - half, middle[1] + half)
    axes.set_aspect("equal")


def _names_of(classes: NDArray[Any], names: Sequence[str]) -> list[str]:
    known = dict(enumerate(names))
    return [str(known.get(int(each), each) if known else each) for each in classes]


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 2]}.."


def _draw_classes(
    axes: Axes,
    points: _Points,
    values: NDArray[Any],
    classes: NDArray[Any],
    size: float,
    shown: Sequence[str],
) -> None:
    looks = [point_style(index) for index in range(len(classes))]
    # In several rounds: a class that is drawn after all others would hide them.
    order = np.random.default_rng(0).permutation(len(points))
    for part in np.array_split(order, 8):
        for each, look in zip(classes, looks, strict=True):
            here = part[values[part] == each]
            axes.scatter(points[here, 0], points[here, 1], s=size, **look)
    for name, look in zip(shown, looks, strict=True):
        axes.scatter([], [], s=30, **look, label=_short(name))


def _name_classes(
    axes: Axes,
    points: _Points,
    values: NDArray[Any],
    classes: NDArray[Any],
    shown: Sequence[str],
) -> None:
    """Write the name of each class near its median, moved to where no other name stands."""
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    letter = float(max(*(high - low), 1e-9)) / 55  # of a text, in the axes' units
    taken: list[tuple[float, float, float]] = []
    for each, name in zip(classes, shown, strict=True):
        x, y = (float(part) for part in np.median(points[values == each], axis=0))
        half = 0.5 * letter * (len(name) + 1)
        for turn in range(60):
            moved = y + letter * math.ceil(turn / 2) * (-1) ** turn
            if all(abs(x - a) > half + b or abs(moved - c) > 2.2 * letter for a, b, c in taken):
                break
        taken.append((x, half, moved))
        drawn = axes.text(
            x, moved, name, ha="center", va="center", fontweight="bold", fontsize=LABEL
        )
        drawn.set_path_effects([withStroke(linewidth=3, foreground="white")])


def _color_bar(figure: Figure, axes: Axes, drawn: Any, label: str) -> None:
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, format="%g")
    bar.set_label(label, fontsize=LABEL)
    bar.ax.tick_params(labelsize=SMALL)


def _draw_circles(figure: Figure, axes: Axes) -> None:
    look: dict[str, Any] = {"color": "0.25", "linestyle": (0, (6, 3))}
    for radius in (1, 2):
        circle = axes.add_patch(Circle((0, 0), radius, fill=False, **look))
        circle.set_path_effects([withStroke(linewidth=2.5, foreground="white", alpha=0.6)])
    text = "prior N(0, I): circles at 1 and 2 standard deviations"
    legend_below(figure, [Line2D([], [], **look)], [text])
