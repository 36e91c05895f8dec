"""Figures: functions of arrays that return a matplotlib figure and never show it."""

from ppvae.reports.plots.calibration import coverage_curves, rank_ecdf
from ppvae.reports.plots.columns import column_histograms
from ppvae.reports.plots.evidence import evidence_bars, gap_bars, pareto_k
from ppvae.reports.plots.images import image_grid, image_rows, manifold, quantile_grid, traversals
from ppvae.reports.plots.latent_space import kl_bars, latent_scatter
from ppvae.reports.plots.training import training_curves

__all__ = [
    "column_histograms",
    "coverage_curves",
    "evidence_bars",
    "gap_bars",
    "image_grid",
    "image_rows",
    "kl_bars",
    "latent_scatter",
    "manifold",
    "pareto_k",
    "quantile_grid",
    "rank_ecdf",
    "training_curves",
    "traversals",
]
