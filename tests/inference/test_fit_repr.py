"""What a `Fit` prints: how the training ended."""

import math
from dataclasses import replace

import torch
import xarray as xr
from torch.distributions import constraints

import ppvae
from ppvae import pairs
from ppvae.data import split
from ppvae.inference import Fit
from tests.data.test_notebook_tables import cells


def test_fit_says_how_training_ended():
    noise = split("noise", torch.randn(60, 3), constraints.real)
    result = ppvae.fit(pairs.assemble(noise, latent=1), noise, epochs=11, compile=False)
    last = result.history.isel(step=-1)
    assert str(result).splitlines() == [
        "finished after 11 steps, 11 epochs; " + result.compilation,
        f"ELBO {float(last.train_elbo):.2f} on training data, "
        f"{float(last.validation_elbo):.2f} on validation data, in nats per datapoint",
        result.convergence,
    ]
    assert repr(result) == str(result)
    shown, validation = cells(result._repr_html_()), result.history.validation_elbo
    best = f"{float(validation.max()):.2f}, at step {int(validation.idxmax())}"
    assert shown["best validation ELBO"] == best
    assert shown["ELBO, validation data"] == f"{float(validation[-1]):.2f} nats per datapoint"
    assert shown["weights"] == "the last" and shown["compiled"] == result.compilation
    first = result.history.isel(step=0)
    kept = replace(result, kept_step=int(first.step), scaling="<b>")
    shown = cells(kept._repr_html_())
    assert shown["weights"] == f"the best, of step {int(first.step)}"
    assert shown["minibatches"] == "&lt;b&gt;"
    assert shown["ELBO, training data"] == f"{float(first.train_elbo):.2f} nats per datapoint"


def test_fit_without_an_evaluation_or_a_finite_one():
    empty = xr.Dataset(coords={"step": []})
    assert str(Fit(None, empty, 0, "interrupted")) == "interrupted after 0 steps"
    assert (
        "<caption>Fit: interrupted after 0 steps<"
        in Fit(None, empty, 0, "interrupted")._repr_html_()
    )
    history = xr.Dataset(
        {"epoch": ("step", [1.0]), "train_elbo": ("step", [math.nan])}, coords={"step": [3]}
    )
    assert str(Fit(None, history, 3, "diverged")) == "diverged after 3 steps, 1 epochs"
