"""What every posterior promises; a new one joins by an entry in POSTERIORS."""

import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

import ppvae
from ppvae import flows, posteriors
from tests.contracts.graphs import trained_both_ways

POSTERIORS = {
    "DiagonalNormal": posteriors.DiagonalNormal,
    "FlowPosterior": functools.partial(posteriors.FlowPosterior, latent=3),
    "FlowPosterior, with context": functools.partial(
        posteriors.FlowPosterior,
        latent=3,
        transforms=(flows.InverseAutoregressive, flows.Reversal, flows.AffineCoupling),
        context=2,
    ),
    "FullRankNormal": posteriors.FullRankNormal,
    "Laplace": posteriors.Laplace,
    "LowRankNormal": posteriors.LowRankNormal,
    "LowRankNormal, rank 2": functools.partial(posteriors.LowRankNormal, rank=2),
}
# Mean and KL are integrals that only draws tell.
CLOSED = {name: build for name, build in POSTERIORS.items() if not name.startswith("Flow")}
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


def posterior_of(build, features=4, latent=3):
    return build(nn.Linear(features, build(nn.Identity()).outputs_for(latent)))


@pytest.fixture(params=POSTERIORS.values(), ids=POSTERIORS.keys())
def posterior(request):
    torch.manual_seed(0)
    return posterior_of(request.param)


@pytest.mark.parametrize("leading", [(), (5,), (4, 5), (2, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_under_leading_dimensions(posterior, leading, dtype):
    distribution = posterior.to(dtype)(torch.randn(*leading, 4, dtype=dtype))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == (3,)
    z = distribution.rsample()
    assert z.dtype == dtype
    assert distribution.log_prob(z).shape == leading


def test_draws_are_reparameterised_in_every_parameter(posterior):
    z = posterior(torch.randn(7, 4)).rsample()
    z.square().sum().backward()
    for name, parameter in posterior.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


@torch.no_grad()
def test_draws_follow_the_density(posterior):
    """Weights q / wide of a wider normal tell how many lie near the centre, and where."""
    distribution = posterior.double()(torch.randn(4).double())
    z = distribution.rsample((40_000,))
    wide = torch.distributions.MultivariateNormal(z.mean(0), 2 * z.T.cov())
    drawn = wide.sample((40_000,))
    inside = (drawn - z.mean(0)).square().sum(-1) < z.var(0).sum()
    weights = (distribution.log_prob(drawn) - wide.log_prob(drawn)).exp() * inside
    share = ((z - z.mean(0)).square().sum(-1) < z.var(0).sum()).double()
    for weighted, drawn_share in (
        (weights[:, None], share[:, None]),
        (weights[:, None] * (drawn - z.mean(0)), share[:, None] * (z - z.mean(0))),
    ):
        error = (weighted.var(0) + drawn_share.var(0)).sqrt() / 200
        difference = (weighted.mean(0) - drawn_share.mean(0)).abs()
        assert bool((difference < FALSE_ALARM_ERRORS * error).all())


@pytest.mark.parametrize("build", CLOSED.values(), ids=CLOSED.keys())
@torch.no_grad()
def test_mean_is_that_of_the_draws(build):
    torch.manual_seed(0)
    distribution = posterior_of(build).double()(torch.randn(2, 1, 5, 4).double())
    assert distribution.mean.shape == (2, 1, 5, 3)
    z = distribution.rsample((40_000,))
    errors = (z.mean(0) - distribution.mean) / z.std(0) * 200
    assert errors.abs().max() < FALSE_ALARM_ERRORS


@pytest.mark.parametrize("build", CLOSED.values(), ids=CLOSED.keys())
@torch.no_grad()
def test_kl_to_a_normal_is_the_mean_of_its_draws(build):
    torch.manual_seed(0)
    posterior = posterior_of(build)
    distribution = posterior.double()(torch.randn(5, 4).double())
    prior = torch.distributions.Independent(
        torch.distributions.Normal(torch.randn(3).double(), torch.rand(3).double() + 0.5), 1
    )
    z = distribution.rsample((40_000,))
    ratios = distribution.log_prob(z) - prior.log_prob(z)
    errors = (kl_divergence(distribution, prior) - ratios.mean(0)) / ratios.std(0) * 200
    assert errors.abs().max() < FALSE_ALARM_ERRORS


def pair_of(build):
    return ppvae.VAE(
        ppvae.priors.StandardNormal(3),
        ppvae.likelihoods.Bernoulli(nn.Linear(3, 6)),
        posterior_of(build, features=6),
    )


@pytest.mark.parametrize("build", POSTERIORS.values(), ids=POSTERIORS.keys())
def test_graph_of_a_training_is_the_training(build, monkeypatch):
    x = (torch.rand(40, 6) < 0.5).float()
    pair = trained_both_ways(lambda: pair_of(build), x, monkeypatch)
    assert np.isfinite(ppvae.diagnostics.evidence(pair, x, draws=20).log_evidence).all()


def test_save_and_load(posterior, tmp_path):
    pair = ppvae.VAE(
        ppvae.priors.StandardNormal(3), ppvae.likelihoods.Bernoulli(nn.Linear(3, 4)), posterior
    )
    ppvae.save(pair, tmp_path)
    x, z = torch.randn(5, 4), torch.randn(5, 3)
    assert torch.equal(pair.encode(x).log_prob(z), ppvae.load(tmp_path).encode(x).log_prob(z))


def test_diagonal_normal_reads_loc_and_raw_scale():
    posterior = posteriors.DiagonalNormal(nn.Identity())
    base = posterior(torch.tensor([1.0, 2.0, 0.0, 3.0])).base_dist
    assert torch.equal(base.loc, torch.tensor([1.0, 2.0]))
    assert torch.allclose(base.scale, torch.tensor([0.0, 3.0]).exp().log1p())


def test_full_rank_normal_reads_loc_diagonal_and_what_is_below():
    posterior = posteriors.FullRankNormal(nn.Identity())
    distribution = posterior(torch.tensor([1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 5.0, 6.0, 7.0]))
    assert torch.equal(distribution.loc, torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.tensor([0.0, 1.0, 2.0]).exp().log1p().diag()
    expected[1, 0], expected[2, 0], expected[2, 1] = 5, 6, 7
    torch.testing.assert_close(distribution.scale_tril, expected)


@pytest.mark.parametrize("build", POSTERIORS.values(), ids=POSTERIORS.keys())
def test_output_that_cannot_be_divided_is_refused(build):
    size = build(nn.Identity()).outputs_for(3) + 1
    with pytest.raises(ValueError, match=rf"needs a network .* \(2, {size}\)"):
        build(nn.Linear(4, size))(torch.zeros(2, 4))


@pytest.mark.parametrize("name", posteriors.__all__)
def test_every_public_posterior_is_here(name):
    assert name in {key.partition(",")[0] for key in POSTERIORS} | {"Posterior"}
