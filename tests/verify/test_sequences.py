"""Sequences whose log P(X) the Kalman filter knows."""

import functools

import numpy as np
import pyro.distributions as dist
import pytest
import torch

import ppvae
from ppvae import data, diagnostics
from ppvae.pairs import DeepMarkovModel

STEPS, INNER, OUTER = 20, 0.6, 0.8
TURN = torch.tensor([[0.79, -0.43], [0.43, 0.79]])
MIX = torch.tensor([[1.0, 0.0], [0.5, -1.0], [-0.7, 0.8]])


def normal(size, scale):
    scales = torch.full((size,), scale, dtype=torch.float64)
    return dist.Normal(torch.zeros_like(scales), scales).to_event(1)


def kalman(x):
    """Return log P(X) by Pyro's Kalman filter; its state starts within 1e-4 of 0."""
    series = dist.GaussianHMM(
        normal(2, 1e-4), TURN.T.double(), normal(2, INNER), MIX.T.double(), normal(3, OUTER), STEPS
    )
    return series.log_prob(x.double()).numpy()


@pytest.mark.verify
def test_elbo_of_a_fitted_pair_is_near_the_log_likelihood_of_the_kalman_filter():
    """Within 0.05 nats a step, with all of model and guide learned; its error is 0.0005."""
    series = data.state_space(5000, STEPS, transition=TURN, emission=MIX, inner=INNER, outer=OUTER)
    torch.manual_seed(0)
    pair = DeepMarkovModel.of(series, latent=2, width=32)
    adam = functools.partial(torch.optim.Adam, lr=3e-3)
    falling = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=20)
    ppvae.fit(pair, series, epochs=20, optimizer=adam, schedule=falling)
    terms = diagnostics.evidence(pair, series.test, draws=100)
    gap = (kalman(series.test) - terms.elbo.values) / STEPS
    print(f"gap {gap.mean():.4f} +- {gap.std() / len(gap) ** 0.5:.4f} nats a step")
    assert 0 < gap.mean() < 0.05
    # The pair's own log P(X) lies below the truth's, by what it has not learned.
    off = (kalman(series.test) - terms.log_evidence.values) / STEPS
    assert np.abs(off.mean()) < 0.01
