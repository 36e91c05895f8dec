"""What a `Fit` prints: how the training ended."""

import math

import torch
import xarray as xr
from torch.distributions import constraints

import ppvae
from ppvae import pairs
from ppvae.data import split
from ppvae.inference import Fit


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


def test_fit_without_an_evaluation_or_a_finite_one():
    empty = xr.Dataset(coords={"step": []})
    assert str(Fit(None, empty, 0, "interrupted")) == "interrupted after 0 steps"
    history = xr.Dataset(
        {"epoch": ("step", [1.0]), "train_elbo": ("step", [math.nan])}, coords={"step": [3]}
    )
    assert str(Fit(None, history, 3, "diverged")) == "diverged after 3 steps, 1 epochs"
