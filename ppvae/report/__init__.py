"""What a run leaves for a person: its folder, its figures, its tables."""

from ppvae.report.run_folder import Run

__all__ = [
    "Run",
]
