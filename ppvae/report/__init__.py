"""What a run leaves for a person: its folder, its figures, its tables."""

from ppvae.report import plots
from ppvae.report.description import described
from ppvae.report.measurement import examine, measure
from ppvae.report.metrics import Metrics
from ppvae.report.run_folder import Run
from ppvae.report.samples import write_interpolation, write_samples

__all__ = [
    "Metrics",
    "Run",
    "described",
    "examine",
    "measure",
    "plots",
    "write_interpolation",
    "write_samples",
]
