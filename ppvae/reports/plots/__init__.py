"""Figures: functions of arrays that return a matplotlib figure and never show it."""

from ppvae.reports.plots.calibration import coverage_curves, rank_ecdf
from ppvae.reports.plots.columns import column_histograms
from ppvae.reports.plots.evidence import evidence_bars, gap_bars
from ppvae.reports.plots.images import image_grid, image_rows, manifold, quantile_grid, traversals
from ppvae.reports.plots.latent_space import kl_bars, latent_scatter
from ppvae.reports.plots.series import series_panels, series_traversals
from ppvae.reports.plots.sheets import alternative_text, with_source
from ppvae.reports.plots.training import training_curves
from ppvae.reports.plots.weights import pareto_k

__all__ = [
    "alternative_text",
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
    "series_panels",
    "series_traversals",
    "training_curves",
    "traversals",
    "with_source",
]
