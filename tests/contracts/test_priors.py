"""What every prior promises; a new one joins by an entry in PRIORS."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

import ppvae
from ppvae import posteriors, priors
from tests.conditional import First
from tests.contracts.graphs import trained_both_ways

PRIORS = {
    "FlowPrior": lambda features: priors.FlowPrior(features),
    "StandardNormal": lambda features: priors.StandardNormal(features),
    "Laplace": lambda features: priors.Laplace(features),
    "StudentT": lambda features: priors.StudentT(features, df=3.0),
    "NormalMixture": lambda features: priors.NormalMixture(features, components=4),
    "VampPrior": lambda features: priors.VampPrior(
        posteriors.DiagonalNormal(nn.Linear(6, 2 * features)), priors.PseudoInputs((6,), 4)
    ),
    "ConditionalNormal": lambda features: priors.ConditionalNormal(nn.Linear(2, 2 * features)),
}
CONDITIONS = {priors.ConditionalNormal: 2}  # how many features its conditions have
SIZED = ["StandardNormal", "Laplace", "StudentT", "NormalMixture"]  # by their number of features
SAMPLES, FALSE_ALARM = 4000, 1e-4


def given(prior, *leading, dtype=torch.float32):
    features = CONDITIONS.get(type(prior))
    return () if features is None else (torch.ones(*leading, features, dtype=dtype),)


@pytest.fixture(params=PRIORS.values(), ids=PRIORS.keys())
def prior(request):
    torch.manual_seed(0)
    return request.param(3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes(prior, dtype):
    distribution = prior.to(dtype)(*given(prior, dtype=dtype))
    assert distribution.batch_shape == ()
    assert distribution.event_shape == (3,)
    z = distribution.sample((5, 4))
    assert z.dtype == dtype
    assert distribution.log_prob(z).shape == (5, 4)


def test_gradient_reaches_every_parameter(prior):
    parameters = dict(prior.named_parameters())
    score = prior(*given(prior)).log_prob(torch.randn(50, 3)).sum()
    gradients = torch.autograd.grad(score, list(parameters.values())) if parameters else []
    for name, gradient in zip(parameters, gradients, strict=True):
        assert bool((gradient != 0).any()), name


@pytest.mark.parametrize("name", sorted(PRIORS.keys() - {"StandardNormal"}))
@torch.no_grad()
def test_density_is_normalised_and_samples_follow_it(name):
    torch.manual_seed(0)
    prior = PRIORS[name](1).double()
    distribution = prior(*given(prior, dtype=torch.double))
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


def test_save_and_load(prior, tmp_path):
    pair = pair_of(prior)
    ppvae.save(pair, tmp_path)
    z = torch.randn(5, 3)
    loaded = ppvae.load(tmp_path, trust=["tests"]).prior
    assert torch.equal(prior(*given(prior)).log_prob(z), loaded(*given(prior)).log_prob(z))


def pair_of(prior):
    return ppvae.VAE(
        prior,
        ppvae.likelihoods.Bernoulli(First(nn.Linear(3, 6))),
        getattr(prior, "posterior", posteriors.DiagonalNormal(First(nn.Linear(6, 6)))),
    )


@pytest.mark.parametrize("build", PRIORS.values(), ids=PRIORS.keys())
def test_graph_of_a_training_is_the_training(build, monkeypatch):
    x = (torch.rand(40, 6) < 0.5).float()
    batch = (x, *given(build(3), len(x)))
    pair = trained_both_ways(lambda: pair_of(build(3)), batch, monkeypatch)
    assert np.isfinite(ppvae.diagnostics.evidence(pair, batch, draws=20).log_evidence).all()


def test_standard_normal_is_the_standard_normal():
    z = torch.randn(50, 3)
    reference = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    assert torch.allclose(priors.StandardNormal(3)().log_prob(z), reference.log_prob(z), atol=1e-5)


@pytest.mark.parametrize("name", SIZED)
def test_features_must_be_positive(name):
    with pytest.raises(ValueError, match="features >= 1"):
        PRIORS[name](0)


@pytest.mark.parametrize("name", priors.__all__)
def test_every_public_prior_is_here(name):
    assert name in {key.partition(",")[0] for key in PRIORS} | {"Prior", "PseudoInputs"}
