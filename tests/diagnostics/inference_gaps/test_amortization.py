"""`gaps` against closed forms, on linear-Gaussian pairs and on conjugate pairs in plain Pyro."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.distributions import flows
from tests import strangers
from tests.linear_gaussian import LinearGaussian

SIGMA = 5.0  # a false alarm in 2 million for each number that is compared
ROUNDING = 2e-3  # nats that an optimum found by steps may lack


def correlated(perturbation):
    """A frozen correlated pair, of which the diagonal family leaves 0.7911 nats."""
    torch.manual_seed(0)
    loadings = torch.randn(6, 3) @ torch.tensor(
        [[1.0, 0.8, 0.6], [0.0, 0.6, 0.5], [0.0, 0.0, 0.6]]
    )
    loadings = loadings.double()
    precision = torch.eye(3).double() + loadings.T @ loadings
    slope = torch.linalg.solve(precision, loadings.T)
    slope = slope + perturbation * torch.randn(3, 6).double()
    scale = precision.diagonal().rsqrt() * math.exp(perturbation)
    zeros = torch.zeros(6).double()
    return LinearGaussian(loadings, zeros, 1.0, slope, torch.zeros(3).double(), scale)


def left_by_diagonal(precision):
    """KL from the best diagonal normal to a normal of that precision."""
    return float(0.5 * (precision.diagonal().log().sum() - torch.logdet(precision)))


def agrees(found, name, exact, slack=ROUNDING):
    """Every datapoint within `SIGMA` standard errors, and their mean too."""
    difference = found[name].values - np.asarray(exact)
    error = found[f"{name}_error"].values
    assert (abs(difference) <= SIGMA * error + slack).all(), name
    mean_error = math.sqrt(np.square(error).sum()) / len(error)
    assert abs(difference.mean()) <= SIGMA * mean_error + slack, name


@pytest.mark.slow
def test_gaps_of_a_correlated_pair_are_its_closed_forms():
    case = correlated(0.2)
    x = case.draw(50, seed=1)
    known = left_by_diagonal(case.posterior(x).precision_matrix[0])
    assert known == pytest.approx(0.7911, abs=1e-4)
    terms = case.terms(x)
    assert float(terms["posterior_kl"].mean()) > 1.5 * known
    found = diagnostics.gaps(case.pair(), x, seed=2)
    agrees(found, "total", terms["posterior_kl"])
    agrees(found, "approximation", np.full(50, known))
    agrees(found, "amortization", terms["posterior_kl"] - known)
    agrees(found, "correlation", np.full(50, known))
    agrees(found, "log_evidence", terms["log_evidence"])
    agrees(found, "elbo", terms["elbo"])
    assert bool(found.converged.all())
    summary = diagnostics.summarize(found)
    assert float(summary["monte_carlo_error"].sel(term="approximation")) < 0.01
    assert float(summary["mean"].sel(term="approximation")) == pytest.approx(known, abs=0.05)


def covered(copies, draws, seed):
    """Count in how many of so many copies of a datapoint each interval covers the truth.

    Copies are independent measurements of one gap, each searched for by itself.
    """
    case = correlated(0.05)
    x = case.draw(1, seed=seed)
    terms = {name: float(value) for name, value in case.terms(x).items()}
    known = left_by_diagonal(case.posterior(x).precision_matrix[0])
    exact = {
        "total": terms["posterior_kl"],
        "approximation": known,
        "amortization": terms["posterior_kl"] - known,
        "correlation": known,
        "elbo": terms["elbo"],
    }
    found = diagnostics.gaps(case.pair(), x.expand(copies, -1), draws=draws, seed=seed)
    return {
        name: int((abs(found[name] - value) <= 1.959964 * found[f"{name}_error"]).sum())
        for name, value in exact.items()
    }


@pytest.mark.slow
def test_each_datapoint_is_covered():
    # Of 200 nominal 95 % intervals, 179 to 198 cover: outside with probability below 0.1 %.
    for name, count in covered(200, 200, seed=5).items():
        assert count in range(179, 199), (name, count)


@pytest.mark.parametrize(
    ("dtype", "memory"),
    [
        pytest.param(torch.float32, 2_000_000, id="single, chunked"),
        pytest.param(torch.float32, 2**25, id="single, whole", marks=pytest.mark.slow),
        pytest.param(torch.float64, 2_000_000, id="double, chunked", marks=pytest.mark.slow),
        pytest.param(torch.float64, 2**25, id="double, whole", marks=pytest.mark.slow),
    ],
)
def test_an_exact_guide_leaves_no_gap(dtype, memory):
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)
    x = case.draw(30, seed=2)
    found = diagnostics.gaps(case.pair(dtype), x, draws=50, steps=200, memory=memory)
    for name in ("total", "approximation", "amortization", "correlation"):
        assert abs(found[name].values).max() < ROUNDING, name
    assert abs(found.log_evidence.values - case.terms(x)["log_evidence"].numpy()).max() < 1e-3
    assert bool(found.converged.all())


@pytest.mark.slow
def test_a_correlated_family_leaves_nothing():
    case = correlated(0.0)
    x = case.draw(20, seed=1)
    encoder = nn.Linear(6, 9).double()
    diagonal = case.pair()
    pair = ppvae.VAE(diagonal.prior, diagonal.likelihood, posteriors.FullRankNormal(encoder))
    torch.nn.init.normal_(encoder.weight, std=0.1, generator=torch.Generator().manual_seed(3))
    found = diagnostics.gaps(pair, x, draws=300)
    agrees(found, "approximation", np.zeros(20))
    agrees(found, "correlation", np.zeros(20))
    with torch.no_grad():
        exact = kl_divergence(pair.encode(x), case.posterior(x))
    assert float(exact.mean()) > 1
    agrees(found, "amortization", exact)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transforms", "context"),
    [
        pytest.param((flows.Reversal,), 0, marks=pytest.mark.verify),
        ((flows.InverseAutoregressive, flows.Reversal), 0),
        ((flows.AffineCoupling, flows.Reversal), 2),
    ],
)
def test_gaps_of_a_flow(transforms, context):
    case = correlated(0.0)
    x, base = case.draw(20, seed=1), case.pair()
    torch.manual_seed(0)
    posterior = posteriors.FlowPosterior(
        nn.Linear(6, 6 + context), latent=3, transforms=transforms, context=context
    )
    for parameter in posterior.chain.parameters():
        parameter.data *= 5  # far from the identity
    found = diagnostics.gaps(ppvae.VAE(base.prior, base.likelihood, posterior.double()), x)
    agrees(found, "log_evidence", case.terms(x)["log_evidence"])
    assert bool((found.amortization > 1).all())
    known = left_by_diagonal(case.posterior(x).precision_matrix[0])
    if transforms == (flows.Reversal,):  # the family of all diagonal normals
        agrees(found, "approximation", np.full(20, known))
        agrees(found, "correlation", np.full(20, known))
    else:
        agrees(found, "approximation", found.correlation)  # the best normal leaves nothing
        assert float(found.approximation.mean()) > 0.01


def far_away(case):
    """Return the case with a guide of a hundredth of the right width, three of the prior's off."""
    intercept = case.intercept + 3.0
    return LinearGaussian(case.loadings, case.offset, 1.0, case.slope, intercept, case.scale / 100)


@pytest.mark.verify
def test_an_overconfident_guide_far_away_is_led_home():
    case = correlated(0.0)
    x = case.draw(20, seed=1)
    shifted = far_away(case)
    found = diagnostics.gaps(shifted.pair(), x, draws=300, steps=800)
    assert bool(found.converged.all())
    known = left_by_diagonal(case.posterior(x).precision_matrix[0])
    agrees(found, "approximation", np.full(20, known))
    agrees(found, "amortization", shifted.terms(x)["posterior_kl"] - known)


def test_a_search_that_has_not_arrived_says_so():
    case = far_away(correlated(0.0))
    x = case.draw(10, seed=1)
    found = diagnostics.gaps(case.pair(), x, steps=100)
    assert not bool(found.converged.any())
    assert bool((found.rise > 0).all())


class OddPlates:
    """a ~ N(0, 1), b_t | a ~ N(a, 1), x_t | b_t ~ N(b_t, 1) for 3 times; a guide of independent
    normals, off by some."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("odd name", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("time", x.shape[1], dim=-1):
                b = pyro.sample("b", dist.Normal(a, 1.0))
                pyro.sample("seen", dist.Normal(b, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("odd name", dist.Normal(x.mean(1, keepdim=True) / 2, 0.4))
            with pyro.plate("time", x.shape[1], dim=-1):
                pyro.sample("b", dist.Normal(x / 2, 0.9))

    def exact(self, x):
        # Over (a, b_1, b_2, b_3), of which x sees b.
        precision = torch.diag(torch.tensor([4.0, 2.0, 2.0, 2.0]))
        precision[0, 1:] = precision[1:, 0] = -1
        loc = torch.linalg.solve(precision, torch.cat([torch.zeros(len(x), 1), x], 1).T).T
        posterior = MultivariateNormal(loc, precision_matrix=precision)
        guide_loc = torch.cat([x.mean(1, keepdim=True) / 2, x / 2], 1)
        guide = MultivariateNormal(
            guide_loc, scale_tril=torch.diag(torch.tensor([0.4, 0.9, 0.9, 0.9]))
        )
        evidence = MultivariateNormal(torch.zeros(3), 1 + 2 * torch.eye(3)).log_prob(x)
        return kl_divergence(guide, posterior), left_by_diagonal(precision), evidence


@pytest.fixture
def double_precision():
    # Pairs without parameters do not tell a dtype: data are cast to torch's default.
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.slow
@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    "memory",
    [
        pytest.param(2**25, id="whole"),
        pytest.param(2_000_000, id="chunked", marks=pytest.mark.verify),
    ],
)
def test_two_latents_and_a_plate(memory):
    x = 2 * torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    total, known, evidence = OddPlates().exact(x)
    assert known > 0.1
    found = diagnostics.gaps(OddPlates(), x, memory=memory)
    agrees(found, "total", total)
    agrees(found, "approximation", np.full(20, known))
    agrees(found, "amortization", total - known)
    agrees(found, "correlation", np.full(20, known))
    agrees(found, "log_evidence", evidence)


class Conjugate:
    """A pair whose posterior is of the guide's family; the guide is off by a factor 1.5."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            self.likelihood(pyro.sample("z/odd", self.prior()), x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z/odd", self.posterior(x, 1.5))


class LogNormal(Conjugate):
    def prior(self):
        return dist.LogNormal(torch.zeros(()), 1.0)

    def likelihood(self, z, x):
        pyro.sample("x", dist.Normal(z.log(), 1.0), obs=x)

    def posterior(self, x, factor):
        return dist.LogNormal(x / 2 * factor, math.sqrt(0.5) / factor)


class Exponential(LogNormal):
    """The same, a normal pushed through exp: not a family of its own."""

    def posterior(self, x, factor):
        normal = dist.Normal(x / 2 * factor, math.sqrt(0.5) / factor)
        return dist.TransformedDistribution(normal, dist.transforms.ExpTransform())


class Gamma(Conjugate):
    def prior(self):
        return dist.Gamma(torch.tensor(2.0), 1.0)

    def likelihood(self, z, x):
        pyro.sample("x", dist.Poisson(z), obs=x.abs().round())

    def posterior(self, x, factor):
        return dist.Gamma((2 + x.abs().round()) * factor, 2.0)


class Dirichlet(Conjugate):
    def prior(self):
        return dist.Dirichlet(torch.ones(3))

    def likelihood(self, z, x):
        pyro.sample("x", dist.Categorical(z), obs=(x > 0).long() + (x > 2))

    def posterior(self, x, factor):
        seen = torch.eye(3)[(x > 0).long() + (x > 2)]
        return dist.Dirichlet((1 + seen) * factor)


@pytest.mark.slow
@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(
    "family",
    [
        LogNormal,
        pytest.param(Exponential, marks=pytest.mark.verify),
        pytest.param(Gamma, marks=pytest.mark.verify),
        Dirichlet,
    ],
)
def test_families_that_hold_the_posterior(family):
    pair = family()
    x = 3 * torch.randn(20, generator=torch.Generator().manual_seed(1))
    exact = kl_divergence(pair.posterior(x, 1.5), pair.posterior(x, 1.0)).numpy()
    assert exact.mean() > 0.05
    found = diagnostics.gaps(pair, x)
    agrees(found, "total", exact)
    agrees(found, "amortization", exact)
    agrees(found, "approximation", np.zeros(20))
    if issubclass(family, LogNormal):  # normal on the logarithm
        agrees(found, "correlation", np.zeros(20))
    else:
        below = found.correlation - SIGMA * found.correlation_error
        assert bool((below < 0).all())
        assert float(found.correlation.mean()) < 0


EXACT = {
    strangers.PlateNotRightmost: (3,),
    strangers.OneBatchDimension: (1,),
    strangers.RefusesTwo: (1,),
    strangers.FixedPlate: (1,),
}


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(("stranger", "shape"), EXACT.items())
def test_exact_strangers_have_no_gap(stranger, shape):
    x = torch.randn(64, *shape, generator=torch.Generator().manual_seed(1))
    found = diagnostics.gaps(stranger(), x, draws=20, steps=16, particles=2)
    for name in ("total", "approximation", "amortization", "correlation"):
        agrees(found, name, np.zeros(64))
    agrees(found, "log_evidence", stranger().log_evidence(x))
    assert float(found.total_error.max()) < 0.05
    assert abs(found.amortization.values).max() < 1e-9


@pytest.mark.usefixtures("double_precision")
def test_masked_observations_count_where_they_are_seen():
    generator = torch.Generator().manual_seed(1)
    x, seen = torch.randn(30, 4, generator=generator), torch.rand(30, 4, generator=generator) < 0.6
    found = diagnostics.gaps(strangers.MaskedLoop(), (x, seen), draws=20, steps=16)
    agrees(found, "total", np.zeros(30))
    agrees(found, "log_evidence", strangers.MaskedLoop().log_evidence(x, seen))
    assert float(found.total_error.max()) < 0.05
    assert abs(found.amortization.values).max() < 1e-9


class SummedOut(strangers.Marginalized):
    """A bimodal prior of which the model sums the component out, and a normal guide."""

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0))


@pytest.mark.slow
@pytest.mark.usefixtures("double_precision")
def test_a_site_that_the_model_sums_out():
    pair, x = SummedOut(), torch.linspace(-4, 4, 15)
    grid = torch.linspace(-14, 14, 8001)[:, None]
    components = torch.distributions.Normal(torch.tensor(pair.locs), 1.0)
    prior = torch.logsumexp(components.log_prob(grid) + torch.tensor(pair.weights).log(), -1)
    log_joint = prior[:, None] + torch.distributions.Normal(grid, 1.0).log_prob(x)
    q = torch.distributions.Normal(x / 2, 1.0).log_prob(grid)
    elbo = torch.trapezoid(q.exp() * (log_joint - q), grid, dim=0)
    found = diagnostics.gaps(pair, x, seed=1)
    evidence = pair.log_evidence(x)
    agrees(found, "total", evidence - elbo)
    agrees(found, "log_evidence", evidence)
    assert bool((found.approximation > -SIGMA * found.approximation_error).all())
    # In one dimension a normal has no correlation to add.
    agrees(found, "correlation", np.zeros(15), slack=0.01)


class Masked(OddPlates):
    def guide(self, x):
        with pyro.poutine.mask(mask=x.sum(1, keepdim=True) > 0):
            super().guide(x)


class PlainGuide(nn.Module):
    def __init__(self, posterior):
        super().__init__()
        self.posterior = posterior

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("code", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("code", self.posterior(x))


def shifted_normal(x):
    affine = dist.transforms.AffineTransform(x, 1.0)
    return dist.TransformedDistribution(dist.Normal(torch.zeros_like(x), 1.0), affine)


def noisy(x):
    return dist.Normal(x + torch.randn_like(x), 1.0)


REFUSED = {
    "chain": (strangers.TwoLatents(), "site 'odd name' its parameters differ between two runs"),
    "top-down": (strangers.TopDown(), "site 'b' its parameters differ between two runs"),
    "discrete": (strangers.SampledDiscrete(), "site 'k' its draws are discrete"),
    "mixture": (strangers.Marginalized(), "site 'z' its draws are discrete or have no gradient"),
    "masked": (Masked(), "site 'odd name' it is masked"),
    "uniform": (
        PlainGuide(lambda x: dist.Uniform(x - 1, x + 1)),
        "site 'code' its distribution Uniform has parameters whose ranges depend on each other",
    ),
    "transform": (
        PlainGuide(shifted_normal),
        "has the transform AffineTransform, which has parameters of its own",
    ),
    "random": (PlainGuide(noisy), "site 'code' its parameters differ between two runs"),
    "point": (PlainGuide(lambda x: dist.Delta(x)), "'code' the guide gives a single point"),
}


@pytest.mark.parametrize(("pair", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_optimized_is_refused_by_name(pair, message):
    x = torch.randn(64, 3) if isinstance(pair, OddPlates) else torch.randn(64)
    with pytest.raises(ValueError, match=message):
        diagnostics.gaps(pair, x, normal=False)


@pytest.mark.parametrize("name", ["discrete", "masked", "point"])
def test_what_has_no_best_normal_is_refused_for_what_the_guide_is(name):
    pair, message = REFUSED[name]
    with pytest.raises(ppvae.Unsupported, match=message):
        diagnostics.gaps(pair, torch.randn(64, 3) if name == "masked" else torch.randn(64))


def missed_by(loc, variance, x):
    """KL from N(loc, variance) to the posterior N(x / 2, 1 / 2)."""
    posterior = dist.Normal(x / 2, math.sqrt(0.5))
    return kl_divergence(dist.Normal(loc, math.sqrt(variance)), posterior)


def missed_by_uniform(x):
    # E[log q] = -log 2, and E[(z - x / 2)^2] = x^2 / 4 + 1 / 3.
    return -math.log(2) + 0.5 * math.log(math.pi) + x**2 / 4 + 1 / 3


ANSWERED = {
    "chain": torch.zeros_like,
    "top-down": torch.zeros_like,
    "uniform": missed_by_uniform,
    "transform": lambda x: missed_by(x, 1.0, x),
    "random": lambda x: missed_by(x, 1.0, x) + 1,  # the mean square of what it draws itself
}


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(("name", "missed"), ANSWERED.items(), ids=ANSWERED.keys())
def test_the_best_normal_answers_for_other_guides(name, missed):
    pair, message = REFUSED[name]
    x = torch.randn(10, generator=torch.Generator().manual_seed(1))
    found = diagnostics.gaps(pair, x, draws=50, steps=100, particles=2)
    variance = 3.0 if name in ("chain", "top-down") else 2.0
    log_evidence = dist.Normal(0.0, math.sqrt(variance)).log_prob(x)
    agrees(found, "normal_elbo", log_evidence)
    assert float(found.normal_elbo_error.max()) < 0.02
    agrees(found, "log_evidence", log_evidence)
    agrees(found, "total", missed(x))
    agrees(found, "normal_approximation", np.zeros(10))
    assert message in found.attrs["not_searched"]
    for unknown in ("approximation", "amortization", "correlation", "optimal_elbo", "rise"):
        assert bool(found[unknown].isnull().all())
    assert bool(found.converged.all())


class FarModes(strangers.Marginalized):
    """A posterior with two modes six standard deviations apart: a normal fits one of them."""

    weights = (0.5, 0.5)
    locs = (-6.0, 6.0)


@pytest.mark.usefixtures("double_precision")
def test_a_mode_that_the_best_normal_misses_is_counted_by_the_guides_draws():
    pair, x = FarModes(), torch.linspace(-0.2, 0.2, 11)
    found = diagnostics.gaps(pair, x, draws=200, steps=40, particles=2)
    agrees(found, "log_evidence", pair.log_evidence(x))
    assert abs(found.total.values).max() < 0.01
    assert float(found.normal_approximation.min()) > 0.2


def planar(case):
    """The case's model with a guide that can score its own draws alone."""
    torch.manual_seed(0)
    features, latent = case.loadings.shape
    posterior = posteriors.FlowPosterior(
        nn.Linear(features, 2 * latent), latent=latent, transforms=(dist.transforms.planar,)
    )
    base = case.pair()
    return ppvae.VAE(base.prior, base.likelihood, posterior.double())


def test_the_best_normal_answers_for_a_flow_without_an_inverse():
    case = correlated(0.0)
    x, pair = case.draw(10, seed=1), planar(case)
    found = diagnostics.gaps(pair, x, draws=30, steps=160, particles=2)
    exact = case.terms(x)["log_evidence"].numpy()
    agrees(found, "normal_elbo", exact)
    assert float(found.normal_elbo_error.max()) < 0.02
    agrees(found, "log_evidence", exact)
    terms = diagnostics.evidence(pair, x, draws=30, seed=1)
    error = np.hypot(found.total_error, terms.elbo_error)
    assert bool((abs(found.total - exact + terms.elbo) < SIGMA * error).all())
    assert (
        "at latent site 'z' its distribution Flow can score its own draws alone"
        in (found.attrs["not_searched"])
    )
    summary = diagnostics.summarize(found)
    assert summary.attrs["data"] == 10
    assert float(summary["mean"].sel(term="normal_elbo")) == pytest.approx(
        exact.mean(), abs=ROUNDING
    )
    assert math.isnan(summary["mean"].sel(term="amortization"))


def test_a_pseudo_likelihood_is_refused():
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.GrayBernoulli(nn.Linear(2, 5)),
        posteriors.DiagonalNormal(nn.Linear(5, 4)),
    )
    with pytest.raises(ValueError, match="log P.X. is not defined for this pair: at site 'x'"):
        diagnostics.gaps(pair, torch.rand(4, 5))


@pytest.mark.slow
def test_evidence_from_elsewhere():
    case = correlated(0.2)
    x = case.draw(6, seed=1)
    terms = case.terms(x)
    exact = xr.Dataset(
        {
            "log_evidence": ("data", terms["log_evidence"].numpy()),
            "log_evidence_error": ("data", np.full(6, 0.5)),
        }
    )
    found = diagnostics.gaps(
        case.pair(), x, log_evidence=exact, normal=False, draws=200, memory=10**6
    )
    assert found.log_evidence.equals(exact.log_evidence)
    assert np.allclose(found.total_error**2, 0.5**2 + found.elbo_error**2)
    assert np.allclose(
        found.amortization_error**2, found.elbo_error**2 + found.optimal_elbo_error**2
    )
    assert bool(found.pareto_k.isnull().all())
    assert "correlation" not in found
    agrees(found, "total", terms["posterior_kl"])
    own = diagnostics.evidence(case.pair(), x, draws=30)
    assert diagnostics.gaps(case.pair(), x, log_evidence=own, steps=8).sizes == {"data": 6}


def evidence_like(rows, name="log_evidence", value=0.0):
    values = ("data", np.full(rows, value))
    return xr.Dataset({name: values, "log_evidence_error": values})


BAD = {
    "draws": ({"draws": 1}, "draws must be at least 2, got 1"),
    "steps": ({"steps": 7}, "steps must be at least 8, got 7"),
    "particles": ({"particles": 0}, "particles must be at least 1, got 0"),
    "memory": ({"memory": 0}, "memory must be at least 1, got 0"),
    "rate": ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
    "tolerance": ({"tolerance": -1.0}, "tolerance must be at least 0 nats, got -1"),
    "names": ({"log_evidence": evidence_like(3, "elbo")}, "must hold log_evidence and log_ev"),
    "rows": ({"log_evidence": evidence_like(4)}, "one value for each of 3 datapoints"),
    "nan": ({"log_evidence": evidence_like(3, value=math.nan)}, "'log_evidence' that is NaN"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments_are_refused(arguments, message):
    case = LinearGaussian.random(1)
    with pytest.raises(ValueError, match=message):
        diagnostics.gaps(case.pair(), case.draw(3, seed=1), **arguments)


def test_same_seed_same_result_whatever_the_caller_drew():
    case = LinearGaussian.random(15)
    x, pair = case.draw(5, seed=16), case.pair()
    settings = {"draws": 20, "steps": 12}
    first = diagnostics.gaps(pair, x, seed=1, **settings)
    torch.rand(17)
    assert diagnostics.gaps(pair, x, seed=1, **settings).equals(first)
    assert not diagnostics.gaps(pair, x, seed=2, **settings).equals(first)
