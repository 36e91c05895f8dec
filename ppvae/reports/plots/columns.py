"""Columns of a table beside those of samples."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from ppvae.reports.plots.sheets import SMALL, legend_below, plain, sheet

_FEWEST, _BINS = 8, 30  # bins: the square root of the number of datapoints, between these
_WHOLE = 30  # whole numbers up to so many have a bin each
_LEVELS = 8  # that have a bar each; the others share one
_NAME = 28  # characters
_ACROSS = 3  # panels in a row
_WIDE = 300  # the ratio of quantiles from which on a positive column has a logarithmic axis
_LOOKS = (("data", "#0072B2", 0.35), ("samples", "#D55E00", 1.0))


def column_histograms(
    columns: Mapping[str, tuple[ArrayLike, ArrayLike]], distances: Sequence[float], title: str
) -> Figure:
    """Draw each column's data and samples: numbers and dates as histograms, levels as bars.

    The axis of numbers ends at the 0.5 % and 99.5 % quantiles of the data.

    Args:
        columns: by name, values of the data and of samples: numbers, dates, texts or booleans.
        distances: of each column, how far the two are from each other.
        title: what the figure shows.

    Raises:
        ValueError: if there are no columns, or not as many distances.

    Example:
        >>> figure = column_histograms({"size": ([1.0, 2.0], [1.5, 2.5])}, [0.5], "two rows")
        >>> figure.axes[0].get_title(loc="left")
        'size'
    """
    if not columns or len(distances) != len(columns):
        raise ValueError(
            f"column_histograms needs at least 1 column and a distance for each, got "
            f"{len(columns)} and {len(distances)}"
        )
    wide = min(len(columns), _ACROSS)
    tall = math.ceil(len(columns) / wide)
    far = max(zip(distances, columns, strict=True))
    figure = sheet(1.7 * tall, title, f"{far[1]} differs most, by {far[0]:.2f}")
    panels = figure.subplots(tall, wide, squeeze=False).ravel()
    for axes, (name, both), distance in zip(panels, columns.items(), distances, strict=False):
        data, drawn = (np.asarray(values) for values in both)
        plain(axes, name if len(name) <= _NAME else f"{name[: _NAME - 3]}...")
        (_bars if data.dtype.kind in "OUSb" else _histogram)(axes, data, drawn)
        axes.text(
            0.99, 0.98, f"differ by {distance:.2f}", transform=axes.transAxes, fontsize=SMALL,
            ha="right", va="top", color="0.3",
        )  # fmt: skip
        axes.set_yticks([])
        axes.margins(y=0.22)
        axes.spines["left"].set_visible(False)
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    marks = [Patch(color=color, alpha=alpha) for _, color, alpha in _LOOKS]
    names = [label for label, *_ in _LOOKS]
    legend_below(figure, marks, names, columns=2)
    return figure


def _histogram(axes: Axes, data: NDArray[Any], drawn: NDArray[Any]) -> None:
    dated = data.dtype.kind == "M"
    if dated:
        # Imported here because nothing else needs it.
        import matplotlib.dates

        dates: Any = matplotlib.dates
        data, drawn = dates.date2num(data), dates.date2num(drawn)
        locator = dates.AutoDateLocator(minticks=2, maxticks=5)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    known = data[np.isfinite(data.astype(float))]
    if not len(known):
        axes.text(
            0.5, 0.5, "no cell is known", ha="center", transform=axes.transAxes, fontsize=SMALL
        )
        return
    low, high = (float(each) for each in np.quantile(known, [0.005, 0.995]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    bins = min(_BINS, max(_FEWEST, math.isqrt(len(known))))
    if known.dtype.kind in "iu" and high - low <= _WHOLE:
        edges = np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    elif low > 0 and high / low > _WIDE:
        edges = np.geomspace(low, high, bins + 1)
        axes.set_xscale("log")
    else:
        edges = np.linspace(low, high, bins + 1)
        if not dated:
            axes.locator_params(axis="x", nbins=5)
    for values, (label, color, alpha) in zip((known, drawn), _LOOKS, strict=True):
        filled = label == "data"
        axes.hist(
            values,
            edges.tolist(),
            weights=np.full(len(values), 1 / max(1, len(values))),
            histtype="stepfilled" if filled else "step",
            alpha=alpha,
            color=color,
            linewidth=1.2,
        )


def _bars(axes: Axes, data: NDArray[Any], drawn: NDArray[Any]) -> None:
    texts = [values.astype(str) for values in (data, drawn)]
    levels, counts = np.unique(np.concatenate(texts), return_counts=True)
    in_data = [int((texts[0] == level).sum()) for level in levels]
    order = np.lexsort((levels, -counts, -np.array(in_data)))
    shown = [str(level) for level in levels[order]]
    rest = shown[_LEVELS:]
    shown = shown[:_LEVELS]
    for index, (values, (_, color, alpha)) in enumerate(zip(texts, _LOOKS, strict=True)):
        shares = [float(np.mean(values == level)) if len(values) else 0.0 for level in shown]
        if rest:
            shares.append(float(np.mean(np.isin(values, rest))) if len(values) else 0.0)
        places = np.arange(len(shares)) + (index - 0.5) * 0.4
        axes.bar(places, shares, 0.4, color=color, alpha=alpha)
    names = [*shown, *([f"{len(rest)} more"] if rest else [])]
    long = sum(map(len, names)) > 28
    axes.set_xticks(
        range(len(names)),
        [name if len(name) <= 12 else f"{name[:10]}.." for name in names],
        rotation=40 if long else 0,
        ha="right" if long else "center",
    )
