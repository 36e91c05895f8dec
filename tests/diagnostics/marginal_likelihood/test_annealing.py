"""Annealed importance sampling and its bounds against closed forms."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import diagnostics
from ppvae.refinement.annealed_chains import sigmoid_schedule
from tests import strangers
from tests.linear_gaussian import LinearGaussian

SEEDS = 200
# Of 200 nominal 95 % intervals, 179 to 198 cover: outside with probability below 0.1 %.
COVERED = range(179, 199)
START = pytest.mark.parametrize("from_guide", [True, False], ids=["guide", "prior"])


@pytest.fixture
def double_precision():
    # Pairs without parameters do not tell a dtype: data are cast to torch's default.
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def standardized(result, exact):
    """The errors of log P(X) in units of their standard errors."""
    return (result.log_evidence.values - exact.numpy()) / result.log_evidence_error.values


@pytest.mark.slow
@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(2**27, id="whole"),
        pytest.param(1, id="one by one", marks=pytest.mark.verify),
    ],
)
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
def test_exact_guide_has_constant_weights(dtype, memory):
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)
    x = case.draw(3, seed=2)
    result = diagnostics.ais(case.pair(dtype), x, temperatures=4, chains=3, memory=memory)
    exact = case.terms(x)["log_evidence"].numpy()
    assert abs(result.log_weight.values - exact).max() < 1e-4
    assert abs(result.log_evidence.values - exact).max() < 1e-4
    assert np.allclose(result.effective_sample_size, 3, rtol=1e-4)
    assert result.log_weight.dims == ("chain", "data")


def test_one_temperature_is_importance_sampling():
    case = LinearGaussian.random(3)
    x = case.draw(50, seed=4)
    result = diagnostics.ais(case.pair(), x, temperatures=1, chains=2000)
    exact = case.terms(x)["log_evidence"]
    # 50 standardized errors, of which a normal one passes 4.5 with probability below 7e-6.
    assert abs(standardized(result, exact)).max() < 4.5
    weights = result.log_weight
    log_mean = weights.reduce(np.logaddexp.reduce, "chain") - math.log(2000)
    assert np.allclose(result.log_evidence, log_mean)
    error = np.exp(weights - log_mean).std("chain", ddof=1) / math.sqrt(2000)
    assert np.allclose(result.log_evidence_error, error)
    assert bool(np.isnan(result.acceptance).all())


@pytest.mark.parametrize(
    "from_guide",
    [pytest.param(True, id="guide", marks=pytest.mark.slow), pytest.param(False, id="prior")],
)
def test_each_datapoint_is_covered(from_guide):
    # 200 copies of a row are 200 independent measurements of it. The bias of log P(X) is half its
    # squared error, so below a tenth of the error where that is below 0.2.
    case = LinearGaussian.random(7, latent=1, perturbation=0.1)
    x = case.draw(1, seed=8)
    result = diagnostics.ais(
        case.pair(),
        x.expand(SEEDS, -1),
        temperatures=10,
        chains=256,
        leapfrogs=3,
        from_guide=from_guide,
    )
    assert float(result.log_evidence_error.max()) < 0.2
    error = standardized(result, case.terms(x)["log_evidence"])
    assert int((abs(error) <= 1.959964).sum()) in COVERED
    assert 0.65 < float(result.acceptance.min()) < 0.99


@pytest.mark.verify
@START
def test_more_temperatures_give_better_weights(from_guide):
    case = LinearGaussian.random(5, perturbation=0.3)
    x = case.draw(10, seed=6)
    sizes = [
        float(
            diagnostics.ais(
                case.pair(), x, temperatures=count, chains=32, from_guide=from_guide
            ).effective_sample_size.mean()
        )
        for count in (1, 10, 60)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


class Positive(nn.Module):
    """z ~ Gamma(2, 3), x | z ~ Poisson(z): negative binomial."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(x.new_full((1,), 2.0), 3.0).to_event(1))
            pyro.sample("x", dist.Poisson(z).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(x.new_full((1,), -0.5), 1.0).to_event(1))

    def log_evidence(self, x):
        return dist.GammaPoisson(2.0, 3.0).log_prob(x[:, 0])


class UnitInterval(nn.Module):
    """p ~ Beta(2, 3), k | p ~ Binomial(5, p): beta-binomial."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            p = pyro.sample("p", dist.Beta(x.new_tensor(2.0), 3.0))
            pyro.sample("k", dist.Binomial(5, p), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("p", dist.Beta(x.new_tensor(3.0), 3.0))

    def log_evidence(self, x):
        return dist.BetaBinomial(2.0, 3.0, total_count=5).log_prob(x)


class Simplex(nn.Module):
    """p ~ Dirichlet(1, 2, 3), counts | p ~ Multinomial(4, p)."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            p = pyro.sample("p", dist.Dirichlet(x.new_tensor([1.0, 2.0, 3.0])))
            pyro.sample("x", dist.Multinomial(4, p), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("p", dist.Dirichlet(x.new_tensor([2.0, 2.0, 2.0])))

    def log_evidence(self, x):
        return dist.DirichletMultinomial(torch.tensor([1.0, 2.0, 3.0]), 4).log_prob(x)


class Mixture(nn.Module):
    """z from a mixture of normals as the prior, x | z ~ N(z, 1)."""

    def prior(self, x, scale):
        mixture = dist.Categorical(x.new_tensor([0.3, 0.7]))
        locs = x.new_tensor([[-2.0], [2.0]])
        components = dist.Normal(locs, scale).to_event(1)
        return dist.MixtureSameFamily(mixture, components)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior(x, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.5).to_event(1))

    def log_evidence(self, x):
        return self.prior(x, math.sqrt(2)).log_prob(x)


class MaskedPositive(nn.Module):
    """The same with a mask over latent and count, where nothing is seen."""

    def model(self, x, seen):
        with pyro.plate("data", len(x)):
            with pyro.poutine.mask(mask=seen):
                z = pyro.sample("z", dist.Gamma(x.new_tensor(2.0), 3.0))
                pyro.sample("x", dist.Poisson(z), obs=x)

    def guide(self, x, seen):
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=seen):
            pyro.sample("z", dist.LogNormal(x.new_tensor(-0.5), 1.0))

    def log_evidence(self, x, seen):
        return dist.GammaPoisson(2.0, 3.0).log_prob(x) * seen


COUNTS = torch.tensor([0.0, 1.0, 2.0, 5.0, 3.0])
SEEN = torch.tensor([True, False, True, True, False])
KNOWN = {
    "positive": (Positive(), (COUNTS[:, None],)),
    "unit interval": (UnitInterval(), (COUNTS,)),
    "simplex": (Simplex(), (torch.tensor([[4.0, 0, 0], [1, 1, 2], [0, 2, 2]]),)),
    "mixture": (Mixture(), (torch.linspace(-4, 4, 5)[:, None],)),
    "masked": (MaskedPositive(), (COUNTS, SEEN)),
    "two latents": (strangers.TopDown(), (torch.linspace(-3, 3, 5),)),
    "inner plate": (strangers.PlateNotRightmost(), (torch.linspace(-3, 3, 15).reshape(5, 3),)),
    "masked loop": (
        strangers.MaskedLoop(),
        (torch.linspace(-3, 3, 15).reshape(5, 3), torch.arange(15).reshape(5, 3) % 2 == 0),
    ),
    "summed out": (strangers.Marginalized(), (torch.linspace(-3, 3, 5),)),
    "one batch dimension": (strangers.OneBatchDimension(), (torch.linspace(-3, 3, 5)[:, None],)),
    "fixed plate": (strangers.FixedPlate(), (torch.linspace(-3, 3, 64)[:, None],)),
}
FAST = {"masked", "inner plate"}


@pytest.mark.parametrize(
    "from_guide",
    [pytest.param(True, id="guide"), pytest.param(False, id="prior", marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    ("pair", "batch"),
    [
        pytest.param(*case, id=name, marks=[] if name in FAST else [pytest.mark.slow])
        for name, case in KNOWN.items()
    ],
)
def test_evidence_of_strangers_is_exact(pair, batch, from_guide, double_precision):
    batch = tuple(x.double() if x.is_floating_point() else x for x in batch)
    result = diagnostics.ais(
        pair, batch, temperatures=25, chains=200, leapfrogs=3, from_guide=from_guide
    )
    exact = pair.log_evidence(*batch).numpy()
    difference = abs(result.log_evidence.values - exact)
    # At most 64 errors, of which a normal one passes 5 with probability 6e-7; an exact guide has
    # none but rounding.
    assert (difference < 5 * result.log_evidence_error.values + 1e-9).all()
    assert float(result.log_evidence_error.max()) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "two latents",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("inner plate", "summed out", "positive")
        ),
    ],
)
def test_bounds_hold_for_strangers(name, double_precision):
    pair, batch = KNOWN[name]
    batch = tuple(x.double() for x in batch)
    bounds = diagnostics.bdmc(pair, batch, simulations=60, temperatures=40, chains=8, leapfrogs=4)
    assert bounds.sizes == {"simulation": 60}
    assert float(bounds.gap) > -4 * float(bounds.gap_error)
    assert float(bounds.gap) < 0.3


def entropy_of(case):
    return case.marginal.entropy().item()


@pytest.mark.slow
def test_bounds_bracket_the_truth():
    # Over x ~ p(x), E[log P(X)] is minus the entropy; the simulations' own is not told.
    case = LinearGaussian.random(3)
    bounds = diagnostics.bdmc(
        case.pair(), case.draw(7, seed=1), simulations=300, temperatures=30, chains=8
    )
    assert float(bounds.lower_mean) < -entropy_of(case) + 4 * float(bounds.lower_error)
    assert float(bounds.upper_mean) > -entropy_of(case) - 4 * float(bounds.upper_error)
    assert float(bounds.gap) > 4 * float(bounds.gap_error)  # few temperatures leave a gap
    assert np.isclose(float(bounds.upper_mean - bounds.lower_mean), float(bounds.gap))
    difference = (bounds.upper - bounds.lower).values
    assert np.isclose(difference.std(ddof=1) / math.sqrt(300), float(bounds.gap_error))


@pytest.mark.slow
def test_a_likelihood_that_says_nothing_has_no_gap():
    case = LinearGaussian.random(3)
    silent = LinearGaussian(
        torch.zeros_like(case.loadings), case.offset, 0.7, case.slope, case.intercept, case.scale
    )
    x = case.draw(4, seed=1)
    bounds = diagnostics.bdmc(silent.pair(), x, simulations=5, temperatures=3, chains=2)
    assert abs(bounds.upper - bounds.lower).max() < 1e-9
    result = diagnostics.ais(silent.pair(), x, temperatures=3, chains=2, from_guide=False)
    exact = silent.terms(x)["log_evidence"].numpy()
    assert abs(result.log_evidence.values - exact).max() < 1e-9


@pytest.mark.slow
def test_one_simulation_and_one_chain_have_no_error():
    case = LinearGaussian.random(3)
    x = case.draw(2, seed=1)
    bounds = diagnostics.bdmc(case.pair(), x, simulations=1, temperatures=2, chains=1)
    assert math.isnan(float(bounds.gap_error))
    result = diagnostics.ais(case.pair(), x, temperatures=2, chains=1)
    assert bool(np.isnan(result.log_evidence_error).all())
    assert bool(np.isfinite(result.log_evidence).all())


@pytest.mark.verify
def test_same_seed_same_result():
    case = LinearGaussian.random(3)
    x, settings = case.draw(2, seed=1), {"temperatures": 3, "chains": 2}
    first = diagnostics.ais(case.pair(), x, seed=1, **settings)
    torch.rand(17)
    assert diagnostics.ais(case.pair(), x, seed=1, **settings).identical(first)
    assert not diagnostics.ais(case.pair(), x, seed=2, **settings).equals(first)


def test_the_schedule_is_a_sigmoid():
    schedule = sigmoid_schedule(100)
    assert schedule[0] == 0
    assert schedule[-1] == 1
    steps = np.diff(schedule)
    assert np.allclose(steps, steps[::-1])
    assert 10 < steps[50] / steps[0] < 14  # sigmoid'(0) / sigmoid'(4) = 14.2
    assert sigmoid_schedule(1) == [0, 1]


class Scalar:
    """z ~ N(0, 1), x ~ N(z, 1); a subclass changes one thing."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = self.latent(x)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def latent(self, x):
        return pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))


class DependentSupport(Scalar):
    def latent(self, x):
        top = pyro.sample("top", dist.Uniform(x.new_ones(()), 2.0))
        return pyro.sample("z", dist.Uniform(0.0, top))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Uniform(x.new_ones(()), 2.0))
            pyro.sample("z", dist.Uniform(0.0, top))


class Sphere(Scalar):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.ProjectedNormal(x.new_ones(3)))
            pyro.sample("x", dist.Normal(z[..., 0], 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.ProjectedNormal(x.new_ones(3)))


class NarrowGuide(Scalar):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.LogNormal(x.new_zeros(()), 1.0))


class PointGuide(Scalar):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x))


class PseudoLikelihood(Scalar):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = self.latent(x)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)
            pyro.factor("penalty", -x.square())


class NoSampler(Scalar):
    def model(self, x):
        class Silent(dist.Normal):
            def sample(self, *args):
                raise NotImplementedError("no sampler")

            rsample = sample

        with pyro.plate("data", len(x)):
            z = self.latent(x)
            pyro.sample("x", Silent(z, 1.0), obs=x)


REFUSED = {
    DependentSupport: "support of latent site 'z', Interval.*, depends on other latents",
    strangers.SampledDiscrete: "latent site 'k' is discrete",
    Sphere: "latent site 'z' has the support .*, to which no bijection",
    NarrowGuide: "latent site 'z' has the support .* in the guide and .* in the model",
    PointGuide: "cannot start from the guide: at latent site 'z' .*single point",
    PseudoLikelihood: "at site 'penalty' pyro.factor adds a number that is no density",
}


@pytest.mark.parametrize(("pair", "message"), REFUSED.items())
def test_what_cannot_be_annealed_is_refused(pair, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.ais(pair(), torch.linspace(0.1, 0.9, 6), temperatures=2, chains=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "pair",
    [
        NarrowGuide,
        *(pytest.param(pair, marks=pytest.mark.slow) for pair in (PointGuide, NoSampler)),
    ],
)
def test_from_the_prior_the_guide_does_not_matter(pair):
    x = torch.linspace(-2, 2, 6)
    result = diagnostics.ais(pair(), x, temperatures=10, chains=400, from_guide=False)
    exact = strangers.marginal_normal(x, 2.0)
    assert abs(standardized(result, exact)).max() < 4.5


def test_a_model_that_cannot_be_drawn_from_has_no_bounds():
    with pytest.raises(ValueError, match="cannot be drawn from .no sampler.* `ais`"):
        diagnostics.bdmc(NoSampler(), torch.zeros(3), simulations=2, temperatures=2, chains=2)


@pytest.mark.parametrize("argument", ["temperatures", "chains", "leapfrogs", "memory"])
def test_bad_arguments_are_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        diagnostics.ais(Scalar(), torch.zeros(3), **{argument: 0})
    with pytest.raises(ValueError, match=f"{argument} must be at least 1, got 0"):
        diagnostics.bdmc(Scalar(), torch.zeros(3), **{argument: 0})
