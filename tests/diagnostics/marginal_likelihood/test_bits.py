"""Bits per dimension."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors


def test_a_fair_coin_costs_one_bit():
    # A mass function that is all but uniform over two levels, whatever z.
    decoder = nn.Linear(1, 3 * 6)
    decoder.weight.data.zero_()
    decoder.bias.data = torch.tensor([0.0, 0.0, 1e5]).repeat_interleave(6)
    pair = ppvae.VAE(
        priors.StandardNormal(1),
        likelihoods.DiscretizedLogisticMixture(decoder, components=1, highest=1),
        posteriors.DiagonalNormal(nn.Linear(6, 2)),
    )
    with torch.no_grad():
        pair.posterior.network.weight.zero_()
        pair.posterior.network.bias.copy_(torch.tensor([0.0, math.log(math.e - 1)]))
    x = torch.randint(2, (20, 6)).float()
    summary = diagnostics.summarize(diagnostics.evidence(pair, x, draws=5))
    # One bit for each of two levels, and no error: the guide is the posterior.
    bits = diagnostics.bits_per_dimension(summary, 6)
    assert bits["mean"].item() == pytest.approx(1, abs=1e-4)
    assert bits["monte_carlo_error"].item() == pytest.approx(0, abs=1e-6)
    assert bits.attrs["units"] == "bits per dimension"


def test_errors_are_scaled_and_stay_positive():
    pair = ppvae.VAE(
        priors.StandardNormal(1),
        likelihoods.Bernoulli(nn.Linear(1, 6)),
        posteriors.DiagonalNormal(nn.Linear(6, 2)),
    )
    summary = diagnostics.summarize(diagnostics.evidence(pair, torch.ones(20, 6), draws=50))
    bits = diagnostics.bits_per_dimension(summary, 6)
    nats = summary.sel(term="log_evidence")
    for name, sign in (("mean", -1), ("standard_error", 1), ("monte_carlo_error", 1)):
        np.testing.assert_allclose(bits[name] * 6 * math.log(2), sign * nats[name])
    with pytest.raises(ValueError, match="dimensions >= 1, got 0"):
        diagnostics.bits_per_dimension(summary, 0)
