"""Whether a guide is calibrated on data simulated from the model."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ppvae.reports.plots.sheets import SMALL, plain, sheet
from ppvae.reports.plots.styles import line_style

_NAMED = 14  # curves with a colour and a name: the furthest out

Curve = tuple[str, NDArray[np.float64], float]
"""The name of a curve, its values, and how far outside the band it goes, 0 if it does not."""


def rank_ecdf(ranks: xr.Dataset, band: xr.Dataset) -> Figure:
    """Draw the distribution functions of ranks minus the uniform one, with a simultaneous band.

    Args:
        ranks: `ranks` of `diagnostics.sbc` or `pit`: one curve for each element of its variables
            along their first dim; -1 stands for a missing rank. Of the curves that leave the band
            the 14 that go furthest have a colour and a name, the furthest first.
        band: what `diagnostics.uniform_band` returned for this number of ranks.

    Example:
        >>> from ppvae.diagnostics import uniform_band
        >>> ranks = xr.Dataset({"z": (("simulation", "z_dim_0"), np.zeros((50, 2), int))})
        >>> len(rank_ecdf(ranks, uniform_band(50, draws=9)).axes[0].get_legend().get_texts())
        3
    """
    expected, cuts = band.expected.values, band.cut.values
    lower, upper = band.lower.values, band.upper.values
    curves: list[Curve] = []
    for name, column in _columns(ranks):
        present = np.sort(column[column >= 0])
        share = np.searchsorted(present, cuts) / max(len(present), 1)
        out = float(np.maximum(share - upper, lower - share).max())
        curves.append((name, np.array([0, *(share - expected), 0]), out if out > 1e-9 else 0.0))
    outside = sum(out > 0 for *_, out in curves)
    title = f"Calibration: {outside} of {len(curves)} quantities leave the band of uniform ranks"
    figure = sheet(3.3, title, _furthest(curves))
    axes = figure.subplots()
    x = np.array([0, *expected, 1])
    low, high = ([0, *(edge - expected), 0] for edge in (lower, upper))
    inside = f"band of {band.attrs['probability']:.3g} for each"
    axes.fill_between(x, low, high, color="0.85", linewidth=0, label=inside)
    _draw(axes, x, curves)
    plain(axes, x="rank, as a share of the draws", y="share of ranks below - expected")
    axes.legend(frameon=False, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def coverage_curves(coverage: xr.Dataset, standard_error: xr.DataArray) -> Figure:
    """Draw the coverage of credible regions over their level.

    Args:
        coverage: `coverage` of `diagnostics.coverage`, a share of simulations for each level; the
            line of `joint` is thick. Of the single coordinates that leave the band, the 14 that
            go furthest have a colour and a name, the furthest first.
        standard_error: of the coverage of an exact guide, for each level; the band is three
            standard errors wide on both sides.

    Example:
        >>> level = {"level": [0.5, 0.9]}
        >>> shares = xr.Dataset({"joint": ("level", [0.4, 0.8])}, level)
        >>> error = xr.DataArray([0.01, 0.01], dims="level")
        >>> len(coverage_curves(shares, error).axes[0].lines)
        2
    """
    level = np.array([0, *coverage.level.values, 1])
    band = 3 * np.array([0, *standard_error.values, 0])
    joint, curves = None, list[Curve]()
    for name, column in _columns(coverage.transpose("level", ...)):
        values = np.array([0, *column, 1])
        if name == "joint":
            joint = values
        else:
            out = float((abs(values - level) - band).max())
            curves.append((name, values, out if out > 1e-9 else 0.0))
    title = "Coverage of credible regions: below the diagonal Q is overconfident"
    figure = sheet(4.0, title, _furthest(curves))
    axes = figure.subplots()
    axes.fill_between(
        level, level - band, level + band, color="0.85", linewidth=0, label="of an exact guide"
    )
    axes.plot(level, level, color="0.5", linewidth=0.8, linestyle="--")
    _draw(axes, level, curves)
    if joint is not None:
        axes.plot(level, joint, color="black", linewidth=2.2, label="all latents together")
    plain(axes, x="level of the region", y="share of simulations whose truth is inside")
    axes.legend(frameon=False, fontsize=SMALL, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _furthest(curves: list[Curve]) -> str:
    """Say which curves leave the band."""
    outside = sorted((curve for curve in curves if curve[2] > 0), key=lambda curve: -curve[2])
    names = ", ".join(name for name, *_ in outside[:3])
    return f"Outside the band: {names}" if names else "None leaves the band"


def _columns(values: xr.Dataset) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the name and the values, along the first dim, of each element of all variables."""
    for name, array in values.items():
        columns = array.values.reshape(len(array), -1).T
        for index, column in zip(np.ndindex(array.shape[1:]), columns, strict=True):
            yield f"{name}{list(index) if index else ''}", column


def _draw(axes: Axes, x: NDArray[np.float64], curves: list[Curve]) -> None:
    """Draw curves, those that leave the band in front."""
    ranked = sorted(curves, key=lambda curve: -curve[2])
    outside = sum(out > 0 for *_, out in curves)
    named, others, within = ranked[:_NAMED], ranked[_NAMED:outside], ranked[outside:]
    for index, (name, values, _) in enumerate(named[:outside]):
        look = line_style(index)
        axes.plot(x, values, **look, linewidth=1.4, label=name, zorder=3 - index / _NAMED)
    for kind, look in (
        (
            others,
            {"color": "0.45", "linestyle": ":", "label": f"{len(others)} others outside the band"},
        ),
        (within, {"color": "0.6", "linestyle": "-", "label": f"{len(within)} inside the band"}),
    ):
        for index, (_, values, _) in enumerate(kind):
            shown = look if index == 0 else look | {"label": None}
            axes.plot(x, values, **shown, linewidth=0.7, zorder=1.5)
