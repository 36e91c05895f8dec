"""What every prior promises; a new one joins by an entry in PRIORS."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

import ppvae
from ppvae import posteriors, priors
from ppvae.networks import First
from tests.contracts.graphs import of_two_classes, trained_both_ways


@dataclass(frozen=True)
class Entry:
    """How to build a prior, the posterior it is paired with, and what is known of it.

    `fewest` is the number of features it has at least, if it is told one; `conditions` the number
    of features of its condition, if it has one.
    """

    build: Callable[[int], priors.Prior]
    partner: Callable[[nn.Module], posteriors.Posterior] = posteriors.DiagonalNormal
    fewest: int | None = 1
    conditions: int | None = None

    def given(self, *leading, dtype=torch.float32):
        features = self.conditions
        return () if features is None else (torch.ones(*leading, features, dtype=dtype),)

    def pair(self, prior):
        encoder = First(nn.Linear(6, self.partner(nn.Identity()).outputs_for(3)))
        return ppvae.VAE(
            prior,
            ppvae.likelihoods.Bernoulli(First(nn.Linear(3, 6))),
            getattr(prior, "posterior", self.partner(encoder)),  # a VampPrior shares its own
        )


PRIORS = {
    "FlowPrior": Entry(priors.FlowPrior, fewest=2),
    "LearnedNormal": Entry(lambda features: priors.LearnedNormal(features, scale=0.5)),
    "StandardNormal": Entry(priors.StandardNormal),
    "Laplace": Entry(priors.Laplace),
    "StudentT": Entry(lambda features: priors.StudentT(features, df=3.0)),
    "NormalMixture": Entry(lambda features: priors.NormalMixture(features, components=4)),
    "LogisticNormal": Entry(lambda features: priors.LogisticNormal(features, 0.3), fewest=2),
    "UniformSphere": Entry(priors.UniformSphere, posteriors.PowerSpherical, fewest=2),
    "VampPrior": Entry(
        lambda features: priors.VampPrior(
            posteriors.DiagonalNormal(First(nn.Linear(6, 2 * features))),
            priors.PseudoInputs((6,), 4),
        ),
        fewest=None,
    ),
    "ConditionalFullRankNormal": Entry(
        lambda features: priors.ConditionalFullRankNormal(
            nn.Linear(2, features * (features + 3) // 2)
        ),
        fewest=None,
        conditions=2,
    ),
    "ConditionalNormal": Entry(
        lambda features: priors.ConditionalNormal(nn.Linear(2, 2 * features)),
        fewest=None,
        conditions=2,
    ),
}
SAMPLES, FALSE_ALARM = 4000, 1e-4


@pytest.fixture(params=PRIORS.values(), ids=PRIORS.keys())
def entry(request):
    return request.param


@pytest.fixture
def prior(entry):
    torch.manual_seed(0)
    return entry.build(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes(entry, prior, dtype):
    distribution = prior.to(dtype)(*entry.given(dtype=dtype))
    assert distribution.batch_shape == ()
    assert distribution.event_shape == (3,)
    z = distribution.sample((5, 4))
    assert z.dtype == dtype
    assert distribution.log_prob(z).shape == (5, 4)


def test_gradient_reaches_every_parameter(entry, prior):
    parameters = dict(prior.named_parameters())
    distribution = prior(*entry.given())
    score = distribution.log_prob(distribution.sample((50,))).sum()
    gradients = torch.autograd.grad(score, list(parameters.values())) if parameters else []
    for name, gradient in zip(parameters, gradients, strict=True):
        assert bool((gradient != 0).any()), name


@pytest.mark.parametrize("name", [name for name, entry in PRIORS.items() if entry.fewest != 2])
@torch.no_grad()
def test_density_is_normalized_and_samples_follow_it(name):
    torch.manual_seed(0)
    prior = PRIORS[name].build(1).double()
    distribution = prior(*PRIORS[name].given(dtype=torch.double))
    density = lambda z: distribution.log_prob(torch.tensor([z]).double()).exp().item()  # noqa: E731
    ends = [-math.inf, -5, -1, 0, 1, 5, math.inf]
    total = sum(integrate.quad(density, *pair, limit=200)[0] for pair in itertools.pairwise(ends))
    assert total == pytest.approx(1, abs=1e-6)
    grid = torch.linspace(-100, 100, 400_001).double()
    cumulative = integrate.cumulative_simpson(
        distribution.log_prob(grid[:, None]).exp().numpy(), x=grid, initial=0
    )
    drawn = distribution.sample((SAMPLES,)).squeeze(-1).numpy()
    assert stats.kstest(drawn, lambda v: np.interp(v, grid, cumulative)).pvalue > FALSE_ALARM


def test_limits():
    z = torch.randn(50, 3)
    normal = priors.StandardNormal(3)().log_prob(z)
    heavy = priors.StudentT(3, df=1e6).double()().log_prob(z.double()).float()
    torch.testing.assert_close(heavy, normal, rtol=0, atol=1e-3)
    mixture = priors.NormalMixture(3, components=1)
    mixture.loc.data.zero_()
    torch.testing.assert_close(mixture().log_prob(z), normal)


def test_save_and_load(entry, prior, tmp_path):
    pair = entry.pair(prior)
    ppvae.save(pair, tmp_path)
    distribution = prior(*entry.given())
    z = distribution.sample((5,))
    loaded = ppvae.load(tmp_path).prior
    assert torch.equal(distribution.log_prob(z), loaded(*entry.given()).log_prob(z))


@pytest.mark.parametrize("entry", of_two_classes(PRIORS))
def test_graph_of_a_training_is_the_training(entry, monkeypatch):
    x = (torch.rand(40, 6) < 0.5).float()
    batch = (x, *entry.given(len(x)))
    pair = trained_both_ways(lambda: entry.pair(entry.build(3)), batch, monkeypatch)
    assert np.isfinite(ppvae.diagnostics.evidence(pair, batch, draws=20).log_evidence).all()


def test_standard_normal_is_the_standard_normal():
    z = torch.randn(50, 3)
    reference = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert torch.allclose(priors.StandardNormal(3)().log_prob(z), reference.log_prob(z), atol=1e-5)


def test_draws_lie_in_the_support(entry, prior):
    distribution = prior(*entry.given())
    z = distribution.sample((1000,))
    assert bool(prior.support.check(z).all()) and bool(distribution.support.check(z).all())


@pytest.mark.parametrize("name", [name for name, entry in PRIORS.items() if entry.fewest])
def test_too_few_features_are_refused(name):
    with pytest.raises(ValueError, match="features >= "):
        PRIORS[name].build(PRIORS[name].fewest - 1)


@pytest.mark.parametrize("name", priors.__all__)
def test_every_public_prior_is_here(name):
    others = {"Prior", "PseudoInputs", "Markov"}
    assert name in {key.partition(",")[0] for key in PRIORS} | others
