"""Annealing at full length: coverage over seeds, the bounds' gap, and quadrature on digits."""

import math
import os

import numpy as np
import pytest
import torch

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors
from tests.linear_gaussian import LinearGaussian

FOLDER = os.environ.get("PPVAE_MNIST")
SEEDS = 200
# Of 200 nominal 95 % intervals, 179 to 198 cover: outside with probability below 0.1 %.
COVERED = range(179, 199)

pytestmark = pytest.mark.verify


@pytest.mark.parametrize("from_guide", [True, False], ids=["guide", "prior"])
def test_intervals_of_the_mean_cover(from_guide):
    # Of light weights, the bias of a datapoint is half its squared error, and adds up over 5 while
    # errors cancel: the mean's is below a tenth of its error where a datapoint's error is below
    # 0.2 / sqrt(5).
    case = LinearGaussian.random(3, perturbation=0.1, noise=1.5)
    x = case.draw(5, seed=5)
    exact = case.terms(x)["log_evidence"].numpy()
    hits, errors = 0, []
    for seed in range(SEEDS):
        result = diagnostics.ais(
            case.pair(),
            x,
            temperatures=30,
            chains=128,
            leapfrogs=4,
            from_guide=from_guide,
            seed=seed,
        )
        error = math.sqrt(float((result.log_evidence_error**2).sum())) / 5
        difference = float((result.log_evidence - exact).mean())
        hits += abs(difference) <= 1.959964 * error
        errors.append(float(np.sqrt((result.log_evidence_error**2).mean())))
    print(
        f"\ncovered of {SEEDS}, expected 179 to 198: {hits}; error of a datapoint "
        f"{np.mean(errors):.4f}, at most {max(errors):.4f}"
    )
    assert np.mean(errors) < 0.2 / math.sqrt(5)
    assert hits in COVERED


def test_the_gap_of_deep_annealing():
    """Below 0.05 nats at 1000 temperatures, 16 chains and 10 leapfrog steps."""
    case = LinearGaussian.random(3)
    bounds = diagnostics.bdmc(case.pair(), case.draw(1, seed=5), simulations=100)
    truth = -case.marginal.entropy().item()
    print(
        f"\nE[log P(X)] {truth:.4f}, lower {float(bounds.lower_mean):.4f} +- "
        f"{float(bounds.lower_error):.4f}, upper {float(bounds.upper_mean):.4f} +- "
        f"{float(bounds.upper_error):.4f}, gap {float(bounds.gap):.5f} +- "
        f"{float(bounds.gap_error):.5f}"
    )
    assert float(bounds.lower_mean) < truth + 4 * float(bounds.lower_error)
    assert float(bounds.upper_mean) > truth - 4 * float(bounds.upper_error)
    assert -4 * float(bounds.gap_error) < float(bounds.gap) < 0.05


def embedded():
    digits = data.digits()
    return (digits.train > 8).double(), (digits.test[:20] > 8).double(), 60


def mnist():
    if FOLDER is None:
        pytest.skip("PPVAE_MNIST names no folder of MNIST's files")
    digits = data.mnist(FOLDER)
    return digits.train[:20_000].double(), digits.test[:10].double(), 5


@pytest.mark.parametrize("images", [embedded, mnist])
@pytest.mark.parametrize("from_guide", [True, False], ids=["guide", "prior"])
def test_quadrature_of_two_latents(from_guide, images):
    """Annealing and importance sampling agree with a grid over both latents of digits."""
    train, x, epochs = images()
    pixels = x.shape[-1]
    torch.manual_seed(0)
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(networks.MLP(2, pixels, hidden=(64,))),
        posteriors.DiagonalNormal(networks.MLP(pixels, 4, hidden=(64,))),
    ).double()
    ppvae.fit(pair, train, batch_size=128, epochs=epochs, seed=0)
    exact = quadrature(pair, x)
    evidence = diagnostics.evidence(pair, x, draws=20_000)
    # 20 standardized errors each, of which a normal one passes 4.5 with probability below 7e-6.
    by_weights = (evidence.log_evidence.values - exact) / evidence.log_evidence_error.values
    assert abs(by_weights).max() < 4.5
    result = diagnostics.ais(pair, x, temperatures=300, chains=64, from_guide=from_guide)
    annealed = (result.log_evidence.values - exact) / result.log_evidence_error.values
    print(
        f"\nerrors of annealing {abs(result.log_evidence.values - exact).max():.4f} at most, "
        f"standardized {np.abs(annealed).max():.2f} at most; of importance sampling "
        f"{np.abs(by_weights).max():.2f}"
    )
    assert abs(annealed).max() < 4.5
    assert float(result.log_evidence_error.max()) < 0.2


@torch.no_grad()
def quadrature(pair, x, points=1201, edge=6.0):
    """Return log P(X) by the trapezoidal rule over a square that holds all of the prior."""
    axis = torch.linspace(-edge, edge, points, dtype=torch.float64)
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    for row in axis:
        z = torch.stack([row.expand(points), axis], -1)
        log_joint = pair.prior().log_prob(z)[:, None] + pair.likelihood(z[:, None]).log_prob(x)
        total = torch.logaddexp(total, log_joint.logsumexp(0))
    return (total + 2 * math.log(float(axis[1] - axis[0]))).numpy()
