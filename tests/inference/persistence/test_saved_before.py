"""Runs that version 0.1 saved still load, give what they gave, and go on."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import ppvae
from ppvae.cli import main

SAVED = Path(__file__).parent / "saved_by_0_1"


@pytest.fixture
def run(tmp_path):
    return Path(shutil.copytree(SAVED / "run", tmp_path / "run"))


def test_a_pair_has_the_densities_that_it_had():
    pair, expected = (
        ppvae.load(SAVED / "flows"),
        load_file(SAVED / "flows" / "expected.safetensors"),
    )
    with torch.no_grad():
        z = expected["z"]
        torch.testing.assert_close(
            pair.decode(z).log_prob(expected["x"]), expected["log_likelihood"]
        )
        torch.testing.assert_close(pair.prior().log_prob(z), expected["log_prior"])


def test_a_pair_is_saved_again_under_public_names(tmp_path):
    ppvae.save(ppvae.load(SAVED / "flows"), tmp_path)
    names = set()

    def collect(value):
        if isinstance(value, dict):
            names.update(value[key] for key in ("class", "type") if key in value)
        for part in value.values() if isinstance(value, dict) else value:
            if isinstance(part, dict | list):
                collect(part)

    collect(json.loads((tmp_path / "pair.json").read_text())["pair"])
    assert "ppvae.VAE" in names and "ppvae.priors.FlowPrior" in names and "torch.nn.ReLU" in names
    assert not [name for name in names if not name.rpartition(".")[0].islower()]
    assert not [name for name in names if name.rpartition(".")[0].count(".") > 2]


@pytest.mark.slow
def test_a_run_is_measured(run, capsys):
    assert main(["diagnose", str(run), "--draws", "5"]) == 0
    assert "log P(X)" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_goes_on_to_where_it_would_have_come(run):
    assert main(["fit", "--resume", str(run), "--epochs", "4"]) == 0
    reached = load_file(run / "pair.safetensors")
    whole = load_file(SAVED / "after_four_epochs.safetensors")
    # Another processor rounds differently; a training that began anew would be far away.
    torch.testing.assert_close(reached, whole, rtol=1e-3, atol=1e-5)
