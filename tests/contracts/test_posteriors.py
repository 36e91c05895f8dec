"""What every posterior promises; a new one joins by an entry in POSTERIORS."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

import ppvae
from ppvae import distributions, posteriors, priors
from ppvae.distributions import flows
from tests.contracts.graphs import of_two_classes, trained_both_ways


def wider_normal(z):
    return torch.distributions.MultivariateNormal(z.mean(0), 2 * z.T.cov())


def some_normal():
    return torch.distributions.Independent(
        torch.distributions.Normal(torch.randn(3).double(), torch.rand(3).double() + 0.5), 1
    )


def sphere(*_):
    return distributions.UniformSphere(torch.zeros(3).double())


@dataclass(frozen=True)
class Entry:
    """How to build a posterior, the prior it is paired with, and distributions like it.

    `wide` returns one that has mass wherever these draws are, `known_kl` one to which the KL has a
    closed form, if any, and `known_mean` tells whether
    the mean has one; `refused` is a number of outputs, beside that of three latents and one.
    """

    build: Callable[[nn.Module], posteriors.Posterior]
    prior: Callable[[int], priors.Prior] = priors.StandardNormal
    wide: Callable[[torch.Tensor], torch.distributions.Distribution] = wider_normal
    known_kl: Callable[[], torch.distributions.Distribution] | None = some_normal
    known_mean: bool = True
    refused: int | None = None

    def outputs_for(self, latent):
        return self.build(nn.Identity()).outputs_for(latent)

    def posterior(self, features=4, latent=3):
        return self.build(nn.Linear(features, self.outputs_for(latent)))

    def pair(self):
        return ppvae.VAE(
            self.prior(3),
            ppvae.likelihoods.Bernoulli(nn.Linear(3, 6)),
            self.posterior(features=6),
        )


POSTERIORS = {
    "DiagonalNormal": Entry(posteriors.DiagonalNormal),
    "FlowPosterior": Entry(
        functools.partial(posteriors.FlowPosterior, latent=3), known_kl=None, known_mean=False
    ),
    "FlowPosterior, with context": Entry(
        functools.partial(
            posteriors.FlowPosterior,
            latent=3,
            transforms=(flows.InverseAutoregressive, flows.Reversal, flows.AffineCoupling),
            context=2,
        ),
        known_kl=None,
        known_mean=False,
    ),
    "FullRankNormal": Entry(posteriors.FullRankNormal),
    "Laplace": Entry(posteriors.Laplace),
    "LowRankNormal": Entry(posteriors.LowRankNormal),
    "LowRankNormal, rank 2": Entry(functools.partial(posteriors.LowRankNormal, rank=2)),
    "NormalMixture": Entry(posteriors.NormalMixture, known_kl=None),
    "NormalMixture, one component": Entry(
        functools.partial(posteriors.NormalMixture, components=1), known_kl=None
    ),
    "PowerSpherical": Entry(
        posteriors.PowerSpherical,
        prior=priors.UniformSphere,
        wide=sphere,
        known_kl=sphere,
        refused=2,
    ),
    "PowerSpherical, down to the uniform": Entry(
        functools.partial(posteriors.PowerSpherical, least=0.0),
        prior=priors.UniformSphere,
        wide=sphere,
        known_kl=sphere,
        refused=2,
    ),
}
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


@pytest.fixture(params=POSTERIORS.values(), ids=POSTERIORS.keys())
def entry(request):
    return request.param


@pytest.fixture
def posterior(entry):
    torch.manual_seed(0)
    return entry.posterior()


@pytest.mark.parametrize("leading", [(), (5,), (4, 5), (2, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_under_leading_dimensions(posterior, leading, dtype):
    distribution = posterior.to(dtype)(torch.randn(*leading, 4, dtype=dtype))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == (3,)
    z = distribution.rsample()
    assert z.dtype == dtype
    assert distribution.log_prob(z).shape == leading


def test_draws_lie_in_the_support_of_the_factor(posterior):
    distribution = posterior(torch.randn(7, 4))
    assert repr(posterior.support) == repr(distribution.support)
    assert bool(posterior.support.check(distribution.sample((100,))).all())


def test_draws_are_reparameterized_in_every_parameter(posterior):
    z = posterior(torch.randn(7, 4)).rsample()
    z.pow(3).sum().backward()
    for name, parameter in posterior.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_output_of_a_network_has_a_density_and_a_gradient(entry, dtype):
    posterior = entry.build(nn.Identity()).to(dtype)
    extremes = torch.tensor([-1e4, -300.0, -104.0, -17.0, 1.0, 17.0, 104.0, 1e4], dtype=dtype)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(extremes), (2000, posterior.outputs_for(3)), generator=generator)
    outputs = extremes[chosen].requires_grad_()
    distribution = posterior(outputs)
    z = distribution.rsample()
    terms = [z.sum(-1), distribution.log_prob(z)]
    if entry.known_kl:
        terms.append(kl_divergence(distribution, entry.known_kl()))
    for term in terms:
        (gradient,) = torch.autograd.grad(term.sum(), outputs, retain_graph=True)
        assert bool(term.isfinite().all()) and bool(gradient.isfinite().all())


@torch.no_grad()
def test_draws_follow_the_density(entry, posterior):
    """Weights q / wide of wider draws tell how many lie near the center, and where."""
    distribution = posterior.double()(torch.randn(4).double())
    z = distribution.rsample((40_000,))
    wide = entry.wide(z)
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


@pytest.mark.parametrize("name", [name for name, e in POSTERIORS.items() if e.known_mean])
@torch.no_grad()
def test_mean_is_that_of_the_draws(name):
    torch.manual_seed(0)
    distribution = POSTERIORS[name].posterior().double()(torch.randn(2, 1, 5, 4).double())
    assert distribution.mean.shape == (2, 1, 5, 3)
    z = distribution.rsample((40_000,))
    errors = (z.mean(0) - distribution.mean) / z.std(0) * 200
    assert errors.abs().max() < FALSE_ALARM_ERRORS


@pytest.mark.parametrize("name", [name for name, e in POSTERIORS.items() if e.known_kl])
@torch.no_grad()
def test_known_kl_is_the_mean_of_its_draws(name):
    torch.manual_seed(0)
    entry = POSTERIORS[name]
    distribution, prior = entry.posterior().double()(torch.randn(5, 4).double()), entry.known_kl()
    z = distribution.rsample((40_000,))
    ratios = distribution.log_prob(z) - prior.log_prob(z)
    errors = (kl_divergence(distribution, prior) - ratios.mean(0)) / ratios.std(0) * 200
    assert errors.abs().max() < FALSE_ALARM_ERRORS


@pytest.mark.parametrize("entry", of_two_classes(POSTERIORS))
def test_graph_of_a_training_is_the_training(entry, monkeypatch):
    x = (torch.rand(40, 6) < 0.5).float()
    pair = trained_both_ways(entry.pair, x, monkeypatch)
    assert np.isfinite(ppvae.diagnostics.evidence(pair, x, draws=20).log_evidence).all()


def test_save_and_load(entry, tmp_path):
    pair = entry.pair()
    ppvae.save(pair, tmp_path)
    x, z = torch.randn(5, 6), pair.prior().sample((5,))
    assert torch.equal(pair.encode(x).log_prob(z), ppvae.load(tmp_path).encode(x).log_prob(z))


def test_diagonal_normal_reads_loc_and_raw_scale():
    posterior = posteriors.DiagonalNormal(nn.Identity())
    base = posterior(torch.tensor([1.0, 2.0, 0.0, 3.0])).base_dist
    assert torch.equal(base.loc, torch.tensor([1.0, 2.0]))
    assert torch.allclose(base.scale, torch.tensor([0.0, 3.0]).exp().log1p())


def test_power_spherical_reads_direction_and_raw_concentration():
    q = posteriors.PowerSpherical(nn.Identity(), least=0.5)(torch.tensor([3.0, 0.0, -4.0, 2.0]))
    torch.testing.assert_close(q.loc, torch.tensor([0.6, 0.0, -0.8]))
    assert q.concentration.item() == pytest.approx(0.5 + np.log1p(np.exp(2.0)))
    with pytest.raises(ValueError, match="parameter loc"):
        posteriors.PowerSpherical(nn.Identity())(torch.zeros(4))
    with pytest.raises(ValueError, match="least >= 0, got -1"):
        posteriors.PowerSpherical(nn.Identity(), least=-1.0)


def test_normal_mixture_reads_logits_locs_and_raw_scales():
    output = torch.tensor([0.0, 1.0, 1.0, 2.0, 3.0, 4.0, 0.0, 1.0, 2.0, 3.0])
    q = posteriors.NormalMixture(nn.Identity(), components=2)(output)
    assert torch.equal(q.logits, output[:2])
    assert torch.equal(q.loc, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    torch.testing.assert_close(q.scale, output[6:].exp().log1p().reshape(2, 2))
    with pytest.raises(ValueError, match="components >= 1, got 0"):
        posteriors.NormalMixture(nn.Identity(), components=0)


def test_full_rank_normal_reads_loc_diagonal_and_what_is_below():
    posterior = posteriors.FullRankNormal(nn.Identity())
    distribution = posterior(torch.tensor([1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 5.0, 6.0, 7.0]))
    assert torch.equal(distribution.loc, torch.tensor([1.0, 2.0, 3.0]))
    expected = torch.tensor([0.0, 1.0, 2.0]).exp().log1p().diag()
    expected[1, 0], expected[2, 0], expected[2, 1] = 5, 6, 7
    torch.testing.assert_close(distribution.scale_tril, expected)


def test_output_that_cannot_be_divided_is_refused(entry):
    size = entry.refused or entry.outputs_for(3) + 1
    with pytest.raises(ValueError, match=rf"needs a network .* \(2, {size}\)"):
        entry.build(nn.Linear(4, size))(torch.zeros(2, 4))


@pytest.mark.parametrize("name", posteriors.__all__)
def test_every_public_posterior_is_here(name):
    assert name in {key.partition(",")[0] for key in POSTERIORS} | {"Posterior", "Markov"}


@pytest.mark.parametrize("family", [posteriors.FullRankNormal, posteriors.LowRankNormal])
def test_kl_of_correlated_normals_to_another_number_of_features_is_refused(family):
    q = family(nn.Linear(2, 9))(torch.zeros(5, 2))
    with pytest.raises(ValueError, match="as many features, got 3 and 1"):
        kl_divergence(q, priors.StandardNormal(1)())
