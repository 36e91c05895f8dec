"""Estimates of log P(x), against those of linear-Gaussian pairs in closed form."""

import pytest
import torch

from ppvae import likelihoods, posteriors, priors
from ppvae.estimators.densities import log_densities, normal_points
from ppvae.pairs import VAE
from tests.linear_gaussian import LinearGaussian


def test_density_is_exact_where_the_guide_is():
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
    x = exact.draw(7, seed=1)
    values = log_densities(exact.pair().eval(), (x,), draws=3, seed=0)
    torch.testing.assert_close(values, exact.marginal.log_prob(x), rtol=0, atol=1e-9)


def test_density_is_near_the_closed_form_where_the_guide_is_not_exact():
    exact = LinearGaussian.random(0)
    x = exact.draw(200, seed=1)
    values = log_densities(exact.pair().eval(), (x,), draws=4000, seed=0)
    error = values - exact.marginal.log_prob(x)
    assert error.abs().mean() < 0.02


def test_density_of_a_row_does_not_depend_on_the_others():
    exact = LinearGaussian.random(0)
    pair, x = exact.pair().eval(), exact.draw(40, seed=1)
    together = log_densities(pair, (x,), draws=20_000, seed=0)  # in several chunks
    alone = torch.cat([log_densities(pair, (row[None],), draws=20_000, seed=0) for row in x[:3]])
    torch.testing.assert_close(together[:3], alone, rtol=0, atol=1e-10)
    other = log_densities(pair, (x,), draws=20_000, seed=1)
    assert not torch.equal(together, other)


def test_rows_outside_the_support_have_density_zero():
    pair = VAE(
        priors.StandardNormal(1),
        likelihoods.Bernoulli(torch.nn.Linear(1, 2)),
        posteriors.DiagonalNormal(torch.nn.Linear(2, 2)),
    ).double()
    x = torch.tensor([[0.0, 1.0], [0.0, 2.0], [0.5, 1.0]]).double()
    values = log_densities(pair, (x,), draws=10, seed=0)
    assert values.isfinite().tolist() == [True, False, False]
    assert values[1:].tolist() == [-torch.inf] * 2
    assert log_densities(pair, (x[1:],), draws=10, seed=0).tolist() == [-torch.inf] * 2


@pytest.mark.parametrize("dimensions", [1, 5])
def test_points_have_the_moments_of_a_normal(dimensions):
    points = normal_points(1024, dimensions, seed=3)
    # Independent draws would have errors of 0.03 and 0.044.
    assert points.mean(0).abs().max() < 0.005
    assert (points.T.cov() - torch.eye(dimensions)).abs().max() < 0.03
    assert points.isfinite().all()
