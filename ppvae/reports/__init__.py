"""What a run leaves for a person: its folder, its figures, its tables."""

from ppvae.reports import plots
from ppvae.reports.description import described
from ppvae.reports.measurement import examine, measure
from ppvae.reports.metrics import Metrics
from ppvae.reports.page import write_page, write_page_of_runs
from ppvae.reports.run_folder import Run
from ppvae.reports.samples import write_interpolation, write_samples

__all__ = [
    "Metrics",
    "Run",
    "described",
    "examine",
    "measure",
    "plots",
    "write_interpolation",
    "write_page",
    "write_page_of_runs",
    "write_samples",
]
