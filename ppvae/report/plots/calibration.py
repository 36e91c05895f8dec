"""Whether a guide is calibrated on data simulated from the model."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.figure import Figure


def rank_ecdf(ranks: xr.Dataset, band: xr.Dataset) -> Figure:
    """Draw the distribution functions of ranks minus the uniform one, with a simultaneous band.

    Args:
        ranks: `ranks` of `diagnostics.sbc` or `pit`: one curve for each element of its variables
            along their first dim; -1 stands for a missing rank. Curves that leave the band get
            a label.
        band: what `diagnostics.uniform_band` returned for this number of ranks.

    Example:
        >>> from ppvae.diagnostics import uniform_band
        >>> ranks = xr.Dataset({"z": (("simulation", "z_dim_0"), np.zeros((50, 2), int))})
        >>> len(rank_ecdf(ranks, uniform_band(50, draws=9)).axes[0].get_legend().get_texts())
        3
    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    expected, cuts = band.expected.values, band.cut.values
    x = [0, *expected, 1]
    low, high = ([0, *(edge - expected), 0] for edge in (band.lower.values, band.upper.values))
    inside = f"band of {band.attrs['probability']:.3g} for each"
    axes.fill_between(x, low, high, color="0.85", linewidth=0, label=inside)
    outside = 0
    for name, array in ranks.items():
        columns = array.values.reshape(len(array), -1).T
        for index, column in zip(np.ndindex(array.shape[1:]), columns, strict=True):
            present = np.sort(column[column >= 0])
            share = np.searchsorted(present, cuts) / max(len(present), 1)
            out = bool(((share < band.lower - 1e-9) | (share > band.upper + 1e-9)).any())
            look: dict[str, Any] = {"color": "0.45", "linewidth": 0.7}
            if out:
                label = f"{name}{list(index) if index else ''}" if outside < 8 else None
                look = {"color": f"C{outside % 8}", "linewidth": 1.2, "label": label}
                look["linestyle"] = ("-", "--", "-.", ":")[outside % 4]
            outside += out
            axes.plot(x, [0, *(share - expected), 0], **look)
    axes.set_xlabel("rank, as a share of the draws")
    axes.set_ylabel("share of ranks below - expected")
    quantities = sum(array[0].size for array in ranks.values())
    axes.set_title(f"{outside} of {quantities} quantities leave the band of uniform ranks")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def coverage_curves(coverage: xr.Dataset, standard_error: xr.DataArray) -> Figure:
    """Draw the coverage of credible regions over their level.

    Args:
        coverage: `coverage` of `diagnostics.coverage`, a share of simulations for each level; the
            line of `joint` is thick, those of single coordinates are thin.
        standard_error: of the coverage of an exact guide, for each level; the band is three
            standard errors wide on both sides.

    Example:
        >>> level = {"level": [0.5, 0.9]}
        >>> shares = xr.Dataset({"joint": ("level", [0.4, 0.8])}, level)
        >>> error = xr.DataArray([0.01, 0.01], dims="level")
        >>> len(coverage_curves(shares, error).axes[0].lines)
        2
    """
    figure = Figure(figsize=(5.6, 4.4), layout="constrained")
    axes = figure.subplots()
    level = np.array([0, *coverage.level.values, 1])
    band = 3 * np.array([0, *standard_error.values, 0])
    axes.fill_between(
        level, level - band, level + band, color="0.85", linewidth=0, label="of an exact guide"
    )
    axes.plot(level, level, color="0.5", linewidth=0.8, linestyle="--")
    for name, array in coverage.items():
        curves = array.transpose("level", ...).values.reshape(len(array.level), -1).T
        joint = name == "joint"
        for index, curve in enumerate(curves):
            axes.plot(
                level,
                [0, *curve, 1],
                color="black" if joint else "0.45",
                linewidth=1.6 if joint else 0.7,
                label=None if index else "all latents together" if joint else str(name),
            )
    axes.set_xlabel("level of the region")
    axes.set_ylabel("share of simulations whose truth is inside")
    axes.set_title("coverage of credible regions: overconfident below the diagonal")
    axes.legend(frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
