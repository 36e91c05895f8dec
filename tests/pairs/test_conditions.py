"""The VAE given conditions, against log p(x | y) in closed form."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.networks import First, Joined
from tests.conditional import Last, LinearGaussian, z_score

FALSE_ALARM_AT = 4.5  # standard errors: 7e-6


def given(rows, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("compile", [False, True])
def test_evidence_is_exact_with_the_exact_posterior(compile):
    case = LinearGaussian.random(0)
    y = given(7, seed=1)
    x = case.marginal(y).sample()
    terms = diagnostics.evidence(case.pair(), (x, y), draws=20, compile=compile)
    expected = case.marginal(y).log_prob(x).numpy()
    np.testing.assert_allclose(terms.log_evidence, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(terms.elbo, expected, rtol=0, atol=1e-9)


def test_elbo_and_evidence_are_right_with_another_guide():
    case = LinearGaussian.random(2, perturbation=0.3)
    y = given(50, seed=3)
    x = case.marginal(y).sample()
    pair, expected = case.pair(), case.marginal(y).log_prob(x).numpy()
    terms = diagnostics.evidence(pair, (x, y), draws=2000)
    elbo = expected - case.posterior_kl().item()
    assert abs(z_score(terms.elbo, elbo, terms.elbo_error)) < FALSE_ALARM_AT
    assert abs(z_score(terms.log_evidence, expected, terms.log_evidence_error)) < FALSE_ALARM_AT
    assert case.posterior_kl() > 100 * terms.posterior_kl_error.mean().item() / 50**0.5
    kl = kl_divergence(pair.encode(x, y), pair.prior(y)).detach().numpy()
    np.testing.assert_allclose(terms.kl, kl, atol=1e-12)


def test_samples_follow_the_model_given_conditions():
    case, rows = LinearGaussian.random(4), 20_000
    y = given(2, seed=5)
    x = case.pair().sample(rows, y)
    assert x.shape == (rows, 2, 5)
    error = case.marginal(y).variance.sqrt() / rows**0.5
    # Of ten means one lies so far off once in 15 000 times.
    assert bool(((x.mean(0) - case.marginal(y).mean).abs() < FALSE_ALARM_AT * error).all())
    for index in range(2):
        covariance = x[:, index].T.cov()
        assert torch.allclose(covariance, case.marginal(y).covariance_matrix, rtol=0.1, atol=0.1)


def test_a_prior_without_network_lets_conditions_be():
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Bernoulli(Joined(nn.Linear(2 + 3, 4))),
        posteriors.DiagonalNormal(First(nn.Linear(4, 4))),
    )
    assert pair.sample(6, torch.zeros(5, 3)).shape == (6, 5, 4)
    y = torch.cat([torch.full((1, 3), -50.0), torch.full((1, 3), 50.0)])
    pair.likelihood.network.network.weight.data[:, 2:] = 1.0
    x = pair.sample(6, y)
    assert x[:, 0].sum() == 0 and x[:, 1].sum() == 24
    assert torch.equal(pair.reconstruct(x[0], y), x[0])


def test_conditions_under_any_leading_dimensions():
    pair = LinearGaussian.random(0).pair()
    x, y = torch.randn(4, 1, 6, 5).double(), torch.randn(2, 6, 3).double()
    encoded = pair.encode(x, y)
    assert encoded.batch_shape == (4, 2, 6)
    assert pair.decode(encoded.sample((3,)), y).batch_shape == (3, 4, 2, 6)
    assert pair.prior(y).batch_shape == (2, 6)


@pytest.mark.slow
def test_training_learns_what_the_conditions_tell():
    torch.manual_seed(0)
    case = LinearGaussian.random(6)
    y = given(400, seed=7)
    x = case.marginal(y).sample()
    pair = ppvae.VAE(
        priors.ConditionalNormal(nn.Linear(3, 4)),
        likelihoods.Normal(Joined(nn.Linear(5, 5)), scale=likelihoods.LearnedScale()),
        posteriors.DiagonalNormal(Joined(nn.Linear(8, 4))),
    ).double()
    ppvae.fit(pair, (x, y), steps=1500, optimizer=lambda p: torch.optim.Adam(p, lr=0.02))
    terms = diagnostics.evidence(pair, (x, y), draws=200)
    best = case.marginal(y).log_prob(x).mean().item()
    # The best fit to 400 rows beats the truth by half a nat for each of some 30 parameters.
    assert abs(terms.log_evidence.mean().item() - best) < 0.1
    blind = diagnostics.evidence(pair, (x, y.roll(1, 0)), draws=200)
    assert blind.log_evidence.mean() < best - 1


def test_several_conditions_reach_every_factor():
    pair = ppvae.VAE(
        priors.ConditionalNormal(Last(nn.Linear(1, 4))),
        likelihoods.Bernoulli(Joined(nn.Linear(2 + 3 + 1, 4))),
        posteriors.DiagonalNormal(Joined(nn.Linear(4 + 3 + 1, 4))),
    )
    x, y, t = torch.ones(9, 4), torch.randn(9, 3), torch.randn(9, 1)
    before = [parameter.detach().clone() for parameter in pair.parameters()]
    ppvae.fit(pair, (x, y, t), steps=2)
    assert not any(map(torch.equal, before, pair.parameters()))
    assert pair.sample(2, y, t).shape == (2, 9, 4)


def test_rows_must_agree():
    pair = LinearGaussian.random(0).pair()
    with pytest.raises(ValueError, match=r"one row a datapoint.* got shapes \(4, 5\), \(3, 3\)"):
        pair.model(torch.zeros(4, 5).double(), torch.zeros(3, 3).double())
    with pytest.raises(ValueError, match=r"one row a datapoint.* got shapes \(3, 3\), \(\)"):
        pair.sample(1, torch.zeros(3, 3).double(), torch.zeros(()))


def test_what_a_conditional_prior_needs():
    with pytest.raises(TypeError, match="network to be a module .* got 10"):
        priors.ConditionalNormal(10)
    with pytest.raises(ValueError, match="at least one condition, got none"):
        priors.ConditionalNormal(nn.Linear(3, 4))()
    with pytest.raises(ValueError, match=r"side by side, got output of shape \(2, 5\)"):
        priors.ConditionalNormal(nn.Linear(3, 5))(torch.zeros(2, 3))
