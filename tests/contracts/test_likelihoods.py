"""What every likelihood promises; a new one joins by an entry in FAMILIES."""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn

import ppvae
from ppvae import likelihoods


@dataclass(frozen=True)
class Family:
    """How to build a likelihood, and data inside and outside its support."""

    name: str
    arguments: dict[str, Any]
    outputs: int
    inside: torch.Tensor
    outside: torch.Tensor
    discrete: bool = True
    normalised: bool = True

    def build(self, features=3, latent=2, dtype=torch.float64):
        arguments = {
            name: value(features) if callable(value) else value
            for name, value in self.arguments.items()
        }
        network = nn.Linear(latent, self.outputs * features)
        return getattr(likelihoods, self.name)(network, **arguments).to(dtype)


BITS, GREY = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.3, 1.0])
REAL = torch.tensor([-2.0, 0.0, 3.5])
FAMILIES = {
    "Bernoulli": Family("Bernoulli", {}, 1, BITS, torch.tensor(0.5)),
    "Binomial": Family("Binomial", {"total_count": 4}, 1, torch.arange(5.0), torch.tensor(5.0)),
    "ContinuousBernoulli": Family(
        "ContinuousBernoulli", {}, 1, GREY, torch.tensor(1.5), discrete=False
    ),
    "GreyBernoulli": Family(
        "GreyBernoulli", {}, 1, GREY, torch.tensor(-0.1), discrete=False, normalised=False
    ),
    "Normal, scale from the network": Family(
        "Normal", {}, 2, REAL, torch.tensor(math.nan), discrete=False
    ),
    "Normal, fixed scale": Family(
        "Normal", {"scale": 0.3}, 1, REAL, torch.tensor(math.nan), discrete=False
    ),
    "Normal, learned scale": Family(
        "Normal",
        {"scale": lambda features: likelihoods.LearnedScale(initial=0.5)},
        1,
        REAL,
        torch.tensor(math.nan),
        discrete=False,
    ),
    "Normal, learned scale of each feature": Family(
        "Normal",
        {"scale": lambda features: likelihoods.LearnedScale(features, initial=2.0)},
        1,
        REAL,
        torch.tensor(math.nan),
        discrete=False,
    ),
}
SAMPLES = 4000
FALSE_ALARM = 1e-4  # of each goodness-of-fit test


@pytest.fixture(params=FAMILIES.values(), ids=FAMILIES.keys())
def family(request):
    return request.param


def test_outputs_per_feature(family):
    assert family.build().outputs_per_feature == family.outputs


@pytest.mark.parametrize("leading", [(), (5,), (4, 5), (2, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_under_leading_dimensions(family, leading, dtype):
    distribution = family.build(dtype=dtype)(torch.randn(*leading, 2, dtype=dtype))
    assert distribution.batch_shape == leading
    assert distribution.event_shape == (3,)
    x = distribution.sample()
    assert x.dtype == dtype
    assert distribution.log_prob(x).shape == leading
    assert distribution.mean.shape == (*leading, 3)


def test_event_of_several_dimensions(family):
    if family.name == "Normal" and isinstance(family.build().scale, nn.Module):
        pytest.skip("a learned scale broadcasts over the last dimension")
    channels = 2
    network = nn.Sequential(
        nn.Linear(2, family.outputs * channels * 6),
        nn.Unflatten(-1, (family.outputs * channels, 2, 3)),
    )
    likelihood = type(family.build())(network, **family.arguments, event_dim=3)
    distribution = likelihood(torch.randn(5, 2))
    assert (distribution.batch_shape, distribution.event_shape) == ((5,), (channels, 2, 3))


def test_gradient_reaches_every_parameter(family):
    likelihood = family.build()
    x = family.inside[-3:].double() if len(family.inside) > 2 else torch.ones(3).double()
    likelihood(torch.randn(7, 2).double()).log_prob(x).sum().backward()
    for name, parameter in likelihood.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad != 0).any()), name


def test_support(family):
    likelihood = family.build(features=1)
    distribution = likelihood(torch.zeros(2).double())
    inside = family.inside.double()[:, None]
    assert bool(likelihood.support.check(inside).all())
    assert bool(torch.isfinite(distribution.log_prob(inside)).all())
    assert not bool(likelihood.support.check(family.outside))
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(family.outside[None])


@pytest.mark.parametrize("seed", range(5))
def test_density_is_normalised(family, seed):
    torch.manual_seed(seed)
    distribution = family.build(features=1)(3 * torch.randn(2).double())

    def density(x):
        return distribution.log_prob(torch.tensor([x], dtype=torch.float64)).exp().item()

    if family.discrete:
        total = sum(density(x.item()) for x in family.inside)
    elif family.name == "Normal":
        loc = distribution.mean.item()
        total = sum(
            integrate.quad(density, *ends, epsabs=1e-12)[0]
            for ends in ((-math.inf, loc), (loc, math.inf))
        )
    else:
        total = integrate.quad(density, 0, 1, epsabs=1e-12)[0]
    if family.normalised:
        assert total == pytest.approx(1, abs=1e-8)
    else:
        assert abs(total - 1) > 0.01


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_samples_follow_the_density(family, seed):
    if not family.normalised:
        pytest.skip("a pseudo-likelihood has no density to follow")
    torch.manual_seed(seed)
    distribution = family.build(features=1)(torch.randn(2).double())
    x = distribution.sample((SAMPLES,)).squeeze(-1)
    if family.discrete:
        expected = distribution.log_prob(family.inside.double()[:, None]).exp().numpy() * SAMPLES
        counts = np.array([(x == value).sum() for value in family.inside])
        assert counts.sum() == SAMPLES
        keep = expected > 5
        statistic = ((counts - expected)[keep] ** 2 / expected[keep]).sum()
        p_value = stats.chi2.sf(statistic, max(1, keep.sum() - 1))
    else:
        low, high = (0, 1) if family.name == "ContinuousBernoulli" else (-50, 50)
        grid = torch.linspace(low, high, 200_001, dtype=torch.float64)
        density = distribution.log_prob(grid[:, None]).exp().numpy()
        cumulative = integrate.cumulative_simpson(density, x=grid.numpy(), initial=0)
        p_value = stats.kstest(x.numpy(), lambda v: np.interp(v, grid, cumulative)).pvalue
    assert p_value > FALSE_ALARM


def test_save_and_load(family, tmp_path):
    pair = ppvae.VAE(
        ppvae.priors.StandardNormal(2),
        family.build(dtype=torch.float32),
        ppvae.posteriors.DiagonalNormal(nn.Linear(3, 4)),
    )
    ppvae.save(pair, tmp_path)
    loaded = ppvae.load(tmp_path)
    z = torch.randn(5, 2)
    x = torch.ones(3)
    assert torch.equal(pair.decode(z).log_prob(x), loaded.decode(z).log_prob(x))


@pytest.mark.parametrize("name", likelihoods.__all__)
def test_every_public_family_is_here(name):
    assert name in {family.name for family in FAMILIES.values()} | {"Likelihood", "LearnedScale"}


def test_binomial_sums_to_one_over_all_images():
    likelihood = FAMILIES["Binomial"].build(features=2)
    levels = torch.tensor(list(itertools.product(range(5), repeat=2)), dtype=torch.float64)
    assert likelihood(torch.randn(2).double()).log_prob(levels).exp().sum().item() == (
        pytest.approx(1, abs=1e-12)
    )
