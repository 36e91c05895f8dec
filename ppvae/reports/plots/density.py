"""The density of many points: cells that count them, and contours that hold half of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from numpy.typing import NDArray

from ppvae.reports.plots.styles import line_style

_CELLS = 45  # hexagons along an axis
_GRID = 120  # points along an axis at which a density is estimated
_HALF = 0.5  # the share of a class that its contour holds
_FEW = 20  # datapoints of a class, below which it has no contour


def draw_hexagons(
    axes: Axes, points: NDArray[np.float64], values: NDArray[Any] | None, alpha: float = 1.0
) -> PolyCollection:
    """Draw how many points lie in each cell, or the mean of their values there."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across = max(8, round(_CELLS * min(1.0, (right - left) / (top - bottom))))
    options: dict[str, Any] = (
        {"cmap": "Greys", "norm": LogNorm(vmin=0.7), "mincnt": 1}
        if values is None
        else {"C": values, "cmap": "viridis", "reduce_C_function": np.mean}
    )
    return axes.hexbin(*points.T, gridsize=across, linewidths=0.1, alpha=alpha, **options)


def draw_contours(
    axes: Axes,
    points: NDArray[np.float64],
    values: NDArray[Any],
    classes: NDArray[Any],
    names: Sequence[str],
) -> None:
    """Draw of each class the contour of its density that holds half of its points."""
    # Imported here because nothing else needs it.
    from scipy.ndimage import gaussian_filter

    low, high = points.min(0), points.max(0)
    margin = 0.1 * (high - low) + 1e-9
    edges = np.linspace(low - margin, high + margin, _GRID + 1).T
    centers = [(each[1:] + each[:-1]) / 2 for each in edges]
    for index, (each, name) in enumerate(zip(classes, names, strict=True)):
        own = points[values == each]
        look = line_style(index)
        axes.plot([], [], **look, linewidth=1.8, label=name[:22])
        if len(own) < _FEW:
            axes.plot(*own.T, "x", color=look["color"], markersize=4)
            continue
        counts = np.histogram2d(own[:, 0], own[:, 1], bins=(edges[0], edges[1]))[0]
        # Scott's rule, with a spread that far points do not widen.
        quartiles = np.quantile(own, [0.25, 0.75], axis=0)
        spread = np.minimum(own.std(0), (quartiles[1] - quartiles[0]) / 1.34)
        cells = [edge[1] - edge[0] for edge in edges]
        density = gaussian_filter(counts, np.maximum(spread * len(own) ** (-1 / 6) / cells, 0.7))
        places = [
            np.clip(np.searchsorted(edge, column) - 1, 0, _GRID - 1)
            for edge, column in zip(edges, own.T, strict=True)
        ]
        level = float(np.quantile(density[places[0], places[1]], 1 - _HALF))
        axes.contour(
            *centers, density.T, levels=[level], colors=[look["color"]],
            linestyles=[look["linestyle"]], linewidths=1.8,
        )  # fmt: skip
