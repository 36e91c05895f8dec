"""What `diagnose` writes into the folder of a run."""

import h5py
import pytest
import sklearn.ensemble  # noqa: F401, the diagnostics import it late, and it adds warning filters
import torch

from ppvae import data, diagnostics, pairs
from ppvae.reports import Run, examine


@pytest.mark.slow
def test_figures_and_file_of_a_diagnosis(tmp_path):
    torch.manual_seed(0)
    dataset = data.segments(100)
    pair = pairs.assemble(dataset, latent=2)
    run = Run.create("run", tmp_path / "run")
    effort = diagnostics.Effort(datapoints=5, draws=20, simulations=20, searched=2)
    text = examine(run, pair, dataset, "test", effort=effort, seed=0)
    written = {path.name for path in (run.folder / "figures").iterdir()}
    assert written == {"ranks-test.png", "coverage-test.png", "gaps-test.png"}
    with h5py.File(run.folder / "diagnosis-test.nc") as file:
        assert {"evidence", "gaps"} <= file.keys()
    assert text.startswith("5 datapoints, nats per datapoint")
