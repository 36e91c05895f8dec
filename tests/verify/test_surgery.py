"""The intervals and the bias of `surgery` over many seeds."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import binom

from ppvae import diagnostics
from tests.diagnostics.latents.test_elbo_surgery import (
    Normals,
    correlated,
    gaussian_information,
    integrated,
)
from tests.linear_gaussian import LinearGaussian

SEEDS = 300
LOW, HIGH = binom.ppf([0.0005, 0.9995], SEEDS, 0.95)  # false alarm 0.1 % each
Z = 1.959964

pytestmark = pytest.mark.verify


def test_monte_carlo_errors_cover_the_mixture():
    x = correlated(20)
    exact, _ = integrated(x, 0.5)
    hits = dict.fromkeys(exact, 0)
    for seed in range(SEEDS):
        terms = diagnostics.surgery(Normals(), x, draws=20, seed=seed).terms
        for name, value in exact.items():
            term = terms.sel(term=name)
            hits[name] += abs(float(term["mean"]) - value) < Z * float(term["monte_carlo_error"])
    print(f"\ncovered of {SEEDS}, expected {LOW:.0f} to {HIGH:.0f}: {hits}")
    assert all(LOW <= count <= HIGH for count in hits.values())


def population(rows):
    """A linear-Gaussian pair, the terms of infinite data, and what N rows add to each."""
    case = LinearGaussian.random(7, latent=2)
    covariance, slope, scale = case.marginal.covariance_matrix, case.slope * 0.6, case.scale * 2
    case = LinearGaussian(
        case.loadings, case.offset, case.noise, slope, -slope @ case.offset, scale
    )
    total = slope @ covariance @ slope.T + torch.diag(scale**2)
    information, joint = gaussian_information(slope, covariance, scale)
    each = sum(
        gaussian_information(slope[i : i + 1], covariance, scale[i : i + 1])[1] for i in range(2)
    )
    correlation = 0.5 * float(total.diagonal().log().sum() - torch.logdet(total))
    dimensions = 0.5 * float((total.diagonal() - 1 - total.diagonal().log()).sum())
    exact = {
        "kl": information + correlation + dimensions,
        "mutual_information": information,
        "marginal_kl": correlation + dimensions,
        "total_correlation": correlation,
        "dimension_kl": dimensions,
    }
    bias = {
        "kl": 0.0,
        "mutual_information": -joint / (2 * rows),
        "marginal_kl": joint / (2 * rows),
        "total_correlation": (joint - each) / (2 * rows),
        "dimension_kl": each / (2 * rows),
    }
    return case, exact, bias


def test_standard_errors_cover_the_source_of_the_data():
    rows = 300
    case, exact, bias = population(rows)
    hits = dict.fromkeys(exact, 0)
    means = {name: [] for name in exact}
    for seed in range(SEEDS):
        terms = diagnostics.surgery(case.pair(), case.draw(rows, seed), draws=2, seed=seed).terms
        for name in exact:
            term = terms.sel(term=name)
            means[name].append(float(term["mean"]))
            error = means[name][-1] - bias[name] - exact[name]
            hits[name] += abs(error) < Z * float(term["standard_error"])
    print(f"\ncovered of {SEEDS}, expected {LOW:.0f} to {HIGH:.0f}: {hits}")
    for name, values in means.items():
        error = np.std(values) / math.sqrt(SEEDS)
        found = np.mean(values) - exact[name]
        print(f"{name}: bias {found:.5f} +- {error:.5f}, to first order {bias[name]:.5f}")
        # The second order is about V / N of the first.
        assert abs(found - bias[name]) < 4 * error + 0.1 * abs(bias[name])
    assert all(LOW <= count <= HIGH for count in hits.values())
