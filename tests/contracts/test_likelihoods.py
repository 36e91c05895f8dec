"""What every likelihood promises; a new one joins by an entry in FAMILIES."""

import functools
import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import nn
from torch.distributions import biject_to, constraints

import ppvae
from ppvae import likelihoods
from tests.contracts.graphs import of_two_classes, trained_both_ways
from tests.marks import slow_but


@dataclass(frozen=True)
class Family:
    """How to build a likelihood, and data inside and outside its support."""

    name: str
    arguments: dict[str, Any]
    outputs: int
    inside: torch.Tensor
    outside: torch.Tensor
    discrete: bool = True
    normalized: bool = True
    levels: int = 0  # discrete families: how many numbers from 0 on have all but 1e-8 of it
    spread: float = 3.0  # of the latents at which the density is integrated
    bias: tuple[float, ...] = ()  # of each of the network's outputs, in place of a random one

    def build(self, features=3, latent=2, dtype=torch.float64):
        arguments = {
            name: value(features) if callable(value) else value
            for name, value in self.arguments.items()
        }
        network = nn.Linear(latent, self.outputs * features)
        if self.bias:
            network.bias.data = torch.tensor(self.bias).repeat_interleave(features)
        return getattr(likelihoods, self.name)(network, **arguments).to(dtype)


BITS, GRAY = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 0.3, 1.0])
SHARES, SIZES = torch.tensor([0.01, 0.5, 0.99]), torch.tensor([0.1, 1.0, 30.0])
REAL, COUNTS = torch.tensor([-2.0, 0.0, 3.5]), torch.tensor([0.0, 1.0, 30.0])
NAN, HALF, BELOW = torch.tensor(math.nan), torch.tensor(0.5), torch.tensor(-1.0)
MANY = 50_000


def learned(features=1, initial=1.0):
    return lambda _: likelihoods.LearnedScale(features, initial)


FAMILIES = {
    "Bernoulli": Family("Bernoulli", {}, 1, BITS, HALF, levels=2),
    "Binomial": Family(
        "Binomial", {"total_count": 4}, 1, torch.arange(5.0), torch.tensor(5.0), levels=5
    ),
    "Categorical": Family(
        "Categorical", {"levels": 4}, 4, torch.arange(4.0), torch.tensor(4.0), levels=4
    ),
    "Poisson": Family("Poisson", {}, 1, COUNTS, HALF, levels=MANY),
    "NegativeBinomial": Family("NegativeBinomial", {}, 2, COUNTS, BELOW, levels=MANY, spread=1.5),
    "ZeroInflatedNegativeBinomial": Family(
        "ZeroInflatedNegativeBinomial", {}, 3, COUNTS, BELOW, levels=MANY, spread=1.5
    ),
    "DiscretizedLogisticMixture": Family(
        "DiscretizedLogisticMixture",
        {"components": 2, "highest": 9},
        6,
        torch.arange(10.0),
        torch.tensor(10.0),
        levels=10,
    ),
    "ContinuousBernoulli": Family(
        "ContinuousBernoulli", {}, 1, GRAY, torch.tensor(1.5), discrete=False
    ),
    "GrayBernoulli": Family(
        "GrayBernoulli", {}, 1, GRAY, torch.tensor(-0.1), discrete=False, normalized=False
    ),
    "Beta": Family(  # less concentrated, it has a good part of its mass where floats have no room
        "Beta", {}, 2, SHARES, torch.tensor(1.0), discrete=False, spread=1.0, bias=(0.0, 9.0)
    ),
    "LogNormal": Family("LogNormal", {}, 2, SIZES, torch.tensor(0.0), discrete=False),
    "StudentT": Family("StudentT", {}, 2, REAL, NAN, discrete=False),
    "StudentT, learned df": Family(
        "StudentT", {"df": learned(initial=3.0)}, 2, REAL, NAN, discrete=False
    ),
    "Normal, scale from the network": Family("Normal", {}, 2, REAL, NAN, discrete=False),
    "Normal, fixed scale": Family("Normal", {"scale": 0.3}, 1, REAL, NAN, discrete=False),
    "Normal, learned scale": Family(
        "Normal", {"scale": learned(initial=0.5)}, 1, REAL, NAN, discrete=False
    ),
    "Normal, learned scale of each feature": Family(
        "Normal",
        {"scale": lambda features: likelihoods.LearnedScale(features, initial=2.0)},
        1,
        REAL,
        NAN,
        discrete=False,
    ),
}
OF_VECTORS = {"Multinomial", "Columns"}  # which have tests of their own
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
    if any(callable(value) for value in family.arguments.values()):
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


EXTREMES = (-1e4, -300.0, -104.0, -40.0, -17.0, 0.0, 17.0, 40.0, 104.0, 300.0, 1e4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_output_of_a_network_has_a_density_and_a_gradient(family, dtype):
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(EXTREMES), (2000, family.outputs), generator=generator)
    outputs = torch.tensor(EXTREMES, dtype=dtype)[chosen].requires_grad_()
    likelihood = family.build(features=1, dtype=dtype)
    likelihood.network = nn.Identity()
    distribution = likelihood(outputs[:, None])
    log_prob = distribution.log_prob(family.inside.to(dtype)[:, None])
    (gradient,) = torch.autograd.grad(log_prob.sum(), outputs)
    assert bool(log_prob.isfinite().all()) and bool(gradient.isfinite().all())
    assert not bool(distribution.sample().isnan().any())


def test_support(family):
    likelihood = family.build(features=1)
    distribution = likelihood(torch.zeros(2).double())
    inside = family.inside.double()[:, None]
    assert bool(likelihood.support.check(inside).all())
    assert bool(torch.isfinite(distribution.log_prob(inside)).all())
    assert not bool(likelihood.support.check(family.outside))
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(family.outside[None])


def on_the_line(distribution, support):
    """Return the log density of u, where x = t(u) for the t from the real line to the support."""
    transform = biject_to(support if support.event_dim == 0 else constraints.real)

    def log_density(u):
        x = transform(u)
        return distribution.log_prob(x[..., None]) + transform.log_abs_det_jacobian(u, x)

    return transform, log_density


def interval(likelihood):
    """Return the support, as torch knows it, of a continuous family."""
    known = (constraints.real, constraints.positive)
    return likelihood.support if likelihood.support in known else constraints.unit_interval


@pytest.mark.parametrize("seed", slow_but({0}, range(5)))
@torch.no_grad()
def test_density_is_normalized(family, seed):
    torch.manual_seed(seed)
    likelihood = family.build(features=1)
    distribution = likelihood(family.spread * torch.randn(2).double())
    if family.discrete:
        levels = torch.arange(family.levels, dtype=torch.float64)
        total = distribution.log_prob(levels[:, None]).exp().sum().item()
    else:
        _, log_density = on_the_line(distribution, interval(likelihood))
        density = lambda u: log_density(torch.tensor(u, dtype=torch.float64)).exp().item()  # noqa: E731
        grid = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
        peak = grid[log_density(grid).argmax()].item()
        breaks = [peak + sign * step for sign in (-1, 1) for step in (0, 0.01, 0.1, 1, 10)]
        edge = math.inf if interval(likelihood) is constraints.real else 30
        ends = itertools.pairwise(sorted({-edge, *breaks, edge}))
        total = sum(integrate.quad(density, *pair, epsabs=1e-12)[0] for pair in ends)
    if family.normalized:
        assert total == pytest.approx(1, abs=1e-7)
    else:
        assert abs(total - 1) > 0.01


@pytest.mark.parametrize("seed", slow_but({0}, range(3)))
@torch.no_grad()
def test_samples_follow_the_density(family, seed):
    if not family.normalized:
        pytest.skip("a pseudo-likelihood has no density to follow")
    torch.manual_seed(seed)
    likelihood = family.build(features=1)
    distribution = likelihood(family.spread / 3 * torch.randn(2).double())
    x = distribution.sample((SAMPLES,)).squeeze(-1)
    assert bool(likelihood.support.check(x[:, None]).all())
    if family.discrete:
        levels = torch.arange(family.levels, dtype=torch.float64)
        expected = distribution.log_prob(levels[:, None]).exp().numpy() * SAMPLES
        counts = np.bincount(x.long().numpy(), minlength=family.levels)
        often = expected > 5
        rest = SAMPLES - expected[often].sum(), SAMPLES - counts[often].sum()
        expected, counts = expected[often], counts[often]
        if rest[0] > 5:
            expected, counts = np.append(expected, rest[0]), np.append(counts, rest[1])
        statistic = ((counts - expected) ** 2 / expected).sum()
        p_value = stats.chi2.sf(statistic, max(1, len(counts) - 1))
    else:
        transform, log_density = on_the_line(distribution, interval(likelihood))
        u = torch.linspace(-30, 30, 200_001, dtype=torch.float64)
        cumulative = integrate.cumulative_simpson(log_density(u).exp().numpy(), x=u, initial=0)
        cdf = lambda v: np.interp(v, u, cumulative)  # noqa: E731
        p_value = stats.kstest(transform.inv(x).numpy(), cdf).pvalue
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
    x = family.inside[1].expand(3)
    assert torch.equal(pair.decode(z).log_prob(x), loaded.decode(z).log_prob(x))


@pytest.mark.parametrize("name", likelihoods.__all__)
def test_every_public_family_is_here(name):
    assert name in {
        *(family.name for family in FAMILIES.values()),
        *OF_VECTORS,
        *("Likelihood", "LearnedScale", "SizeFactor", "UnitSize", "ObservedSize"),
        *("FeatureSizes", "Units", "Masked", "EachStep"),
    }


def test_binomial_sums_to_one_over_all_images():
    likelihood = FAMILIES["Binomial"].build(features=2)
    levels = torch.tensor(list(itertools.product(range(5), repeat=2)), dtype=torch.float64)
    assert likelihood(torch.randn(2).double()).log_prob(levels).exp().sum().item() == (
        pytest.approx(1, abs=1e-12)
    )


@pytest.mark.parametrize("family", of_two_classes(FAMILIES))
def test_graph_of_a_training_is_the_training(family, monkeypatch):
    x = family.build(dtype=torch.float32)(torch.randn(40, 2)).sample().detach()

    def build():
        return ppvae.VAE(
            ppvae.priors.StandardNormal(2),
            family.build(dtype=torch.float32),
            ppvae.posteriors.DiagonalNormal(nn.Linear(3, 4)),
        )

    trained_both_ways(build, x, monkeypatch)


def test_more_zeros_of_none_are_no_more_zeros():
    torch.manual_seed(0)
    output = torch.randn(50, 2).double()
    plain = likelihoods.NegativeBinomial(nn.Identity())(output)
    gate = torch.full((50, 1), -50.0).double()
    inflated = likelihoods.ZeroInflatedNegativeBinomial(nn.Identity())(
        torch.cat([output, gate], 1)
    )
    x = torch.arange(50.0).double()[:, None]
    torch.testing.assert_close(inflated.log_prob(x), plain.log_prob(x))


def test_negative_binomial_tends_to_poisson():
    log_mean = torch.linspace(-2, 2, 9).double()[:, None]
    output = torch.cat([log_mean, torch.full_like(log_mean, 1e9)], 1)
    x = torch.arange(9.0).double()[:, None]
    torch.testing.assert_close(
        likelihoods.NegativeBinomial(nn.Identity())(output).log_prob(x),
        likelihoods.Poisson(nn.Identity())(log_mean).log_prob(x),
        rtol=0,
        atol=1e-5,
    )


def test_student_t_tends_to_normal():
    torch.manual_seed(0)
    output, x = torch.randn(50, 2).double(), torch.randn(50, 1).double()
    torch.testing.assert_close(
        likelihoods.StudentT(nn.Identity(), df=1e6)(output).log_prob(x),
        likelihoods.Normal(nn.Identity())(output).log_prob(x),
        rtol=1e-3,
        atol=1e-4,
    )


def test_discretized_logistic_of_one_component_is_a_difference_of_sigmoids():
    likelihood = likelihoods.DiscretizedLogisticMixture(nn.Identity(), components=1)
    distribution = likelihood(torch.tensor([0.7, 0.1, -0.5]).double())
    loc, scale = 255 * 0.6, 25.5 * math.log1p(math.exp(-0.5)) / math.log(2)
    levels = torch.arange(256.0).double()
    edges = torch.sigmoid((torch.arange(255.0).double() + 0.5 - loc) / scale)
    whole = torch.cat([torch.zeros(1).double(), edges, torch.ones(1).double()])
    density = distribution.log_prob(levels[:, None]).exp()
    torch.testing.assert_close(density, whole.diff())
    torch.testing.assert_close(distribution.mean, (levels * density).sum()[None])


def test_multinomial_sums_to_one_over_the_documents_of_a_length():
    torch.manual_seed(0)
    counts = [c for c in itertools.product(range(6), repeat=3) if sum(c) == 5]
    documents = torch.tensor(counts, dtype=torch.float64)
    distribution = likelihoods.Multinomial(nn.Identity(), total_count=5)(torch.randn(3).double())
    density = distribution.log_prob(documents).exp()
    assert density.sum().item() == pytest.approx(1, abs=1e-12)
    drawn = distribution.sample((SAMPLES,))
    observed = (drawn[:, None] == documents).all(-1).sum(0).numpy()
    expected = density.numpy() * SAMPLES
    often = expected > 5
    statistic = ((observed - expected)[often] ** 2 / expected[often]).sum()
    assert observed.sum() == SAMPLES
    assert stats.chi2.sf(statistic, often.sum() - 1) > FALSE_ALARM


def test_documents_of_different_lengths_are_scored_each_by_its_own():
    distribution = likelihoods.Multinomial(nn.Identity())(torch.zeros(2, 2))
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    assert distribution.log_prob(x).exp().tolist() == pytest.approx([0.5, 0.5])
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(x - 0.5)


def table(network=None):
    groups = [
        (2, likelihoods.Normal),
        (1, functools.partial(likelihoods.Categorical, levels=3)),
        (2, likelihoods.Bernoulli),
    ]
    return likelihoods.Columns(network or nn.Linear(2, 4 + 3 + 2), groups)


def test_columns_are_scored_by_their_families():
    torch.manual_seed(0)
    output = torch.randn(4, 9).double()
    distribution = table(nn.Identity())(output)
    x = distribution.sample()
    parts = [
        likelihoods.Normal(nn.Identity())(output[:, :4]).log_prob(x[:, :2]),
        likelihoods.Categorical(nn.Identity(), levels=3)(output[:, 4:7]).log_prob(x[:, 2:3]),
        likelihoods.Bernoulli(nn.Identity())(output[:, 7:]).log_prob(x[:, 3:]),
    ]
    torch.testing.assert_close(distribution.log_prob(x), sum(parts))
    assert distribution.mean.shape == x.shape == (4, 5)
    assert table().outputs_for(5) == 9
    with pytest.raises(ValueError, match="support"):
        distribution.log_prob(x + torch.tensor([0, 0, 3, 0, 0]))
    with pytest.raises(ValueError, match="data of 4 columns"):
        table().outputs_for(4)


@pytest.mark.parametrize("leading", [(), (5,), (4, 5), (2, 1, 5)])
def test_columns_under_leading_dimensions(leading):
    distribution = table()(torch.randn(*leading, 2))
    assert (distribution.batch_shape, distribution.event_shape) == (leading, (5,))
    assert distribution.log_prob(distribution.sample((3,))).shape == (3, *leading)
