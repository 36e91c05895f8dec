"""ELBO surgery against mixtures that are known exactly."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.diagnostics.latents.normal_bound import held_out_normal
from tests import exact_pairs, strangers
from tests.linear_gaussian import LinearGaussian


class Normals:
    """z ~ N(0, I), q(z|x) = N(x, scale^2 I): the data are the posterior means."""

    def __init__(self, scale=0.5):
        self.scale = scale

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(x.shape[1]), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, self.scale).to_event(1))


def mean(surgery, term):
    return float(surgery.terms["mean"].sel(term=term))


def error(surgery, term):
    return float(surgery.terms["monte_carlo_error"].sel(term=term))


def integrated(x, scale):
    """All terms for two dimensions by sums over a grid; exact to rounding for smooth densities."""
    side = torch.linspace(-9, 9, 1501, dtype=torch.float64)
    step = float(side[1] - side[0])
    each = [Normal(x[:, i, None], scale).log_prob(side).exp().mean(0) for i in range(2)]
    first, second = (Normal(x[:, i, None], scale).log_prob(side).exp() for i in range(2))
    joint = first.T @ second / len(x)

    def entropy(density, cell):
        return -float(torch.special.xlogy(density, density).sum()) * cell

    prior = Normal(0.0, 1.0).log_prob(side)
    entropies = [entropy(density, step) for density in each]
    crosses = [-float((density * prior).sum()) * step for density in each]
    inner = 2 * float(Normal(0.0, scale).entropy())
    whole = entropy(joint, step**2)
    return {
        "kl": sum(crosses) - inner,
        "mutual_information": whole - inner,
        "marginal_kl": sum(crosses) - whole,
        "total_correlation": sum(entropies) - whole,
        "dimension_kl": sum(crosses) - sum(entropies),
    }, {
        "information": [value - inner / 2 for value in entropies],
        "kl": [cross - value for cross, value in zip(crosses, entropies, strict=True)],
    }


def correlated(rows, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return x @ torch.tensor([[1.0, 0.8], [0.0, 0.4]], dtype=torch.float64)


def test_terms_are_those_of_the_mixture():
    x = correlated(20)
    parts = diagnostics.surgery(Normals(), x, draws=4000, seed=3)
    terms, each = integrated(x, 0.5)
    for term, exact in terms.items():  # false alarm of all together below 1e-4
        assert abs(mean(parts, term) - exact) < 4.5 * error(parts, term)
    assert np.allclose(parts.dimension_information.z, each["information"], atol=0.02)
    assert np.allclose(parts.dimension_kl.z, each["kl"], atol=0.02)
    assert parts.dimension_kl.z.dims == ("z_dim_0",)
    assert not parts.undefined
    assert not parts.saturated


@pytest.mark.parametrize("memory", [2**25, 50_000])
def test_scores_are_those_of_the_sum_over_all_components(memory):
    # The same draws, scored by all components at once.
    case = LinearGaussian.random(1, latent=3)
    x = case.draw(60, seed=2)
    pair, arguments = case.pair(), {"draws": 5, "seed": 4, "memory": memory}
    parts = diagnostics.surgery(pair, x, **arguments)
    drawn = diagnostics.to_arviz(pair, x, predictive=False, **arguments)
    z = torch.as_tensor(drawn["posterior"]["z"].values[0])
    guide = case.guide(x)
    scores = guide.log_prob(z[:, :, None])
    aggregate = scores.logsumexp(-1) - math.log(60)
    information = guide.log_prob(z) - aggregate
    assert mean(parts, "mutual_information") == pytest.approx(float(information.mean()), abs=1e-10)
    prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
    assert mean(parts, "marginal_kl") == pytest.approx(float((aggregate - prior).mean()), abs=1e-9)
    spread = float(information.mean(0).std()) / math.sqrt(60)
    assert float(parts.terms["standard_error"].sel(term="mutual_information")) == pytest.approx(
        spread
    )
    monte_carlo = float((information.var(0) / 5).sum().sqrt()) / 60
    assert error(parts, "mutual_information") == pytest.approx(monte_carlo)


@pytest.mark.slow
@pytest.mark.parametrize("memory", [2**25, 20_000])
def test_terms_do_not_depend_on_memory_beyond_the_draws(memory):
    case = LinearGaussian.random(5, latent=2)
    x = case.draw(15, seed=6)
    parts = diagnostics.surgery(case.pair(), x, draws=200, memory=memory)
    kl = float(case.terms(x)["kl"].mean())
    assert abs(mean(parts, "kl") - kl) < 4.5 * error(parts, "kl")
    information, marginal = mean(parts, "mutual_information"), mean(parts, "marginal_kl")
    assert mean(parts, "kl") == pytest.approx(information + marginal)
    both = mean(parts, "total_correlation") + mean(parts, "dimension_kl")
    assert marginal == pytest.approx(both)


def test_a_single_byte_of_memory_is_enough():
    case = LinearGaussian.random(5, latent=2)
    parts = diagnostics.surgery(case.pair(), case.draw(4, seed=6), draws=2, memory=1)
    assert 0 < mean(parts, "mutual_information") < math.log(4)


def gaussian_information(slope, covariance, scale):
    """I(x; z) in the limit of infinite data, and V, which says how far N datapoints are below."""
    spread = slope @ covariance @ slope.T
    noise = torch.diag(scale**2)
    total = spread + noise
    information = 0.5 * (torch.logdet(total) - torch.logdet(noise))
    # E_x integral N(z; m, S)^2 / N(z; 0, T) dz with m ~ N(0, M): Gaussian integrals.
    inner = torch.linalg.inv(2 * torch.linalg.inv(noise) - torch.linalg.inv(total))
    sharp = 2 * torch.linalg.inv(noise) @ inner @ torch.linalg.inv(noise)
    sharp = sharp * 2 - 2 * torch.linalg.inv(noise)  # exp(m' sharp m / 2)
    log_v = (
        0.5 * torch.logdet(total)
        - torch.logdet(noise)
        + 0.5 * torch.logdet(inner)
        - 0.5 * torch.logdet(torch.eye(len(spread)).double() - spread @ sharp)
    )
    return float(information), float(log_v.exp() - 1)


def test_many_data_come_near_the_gaussian_aggregate():
    case = LinearGaussian.random(7, latent=2)
    covariance = case.marginal.covariance_matrix
    slope, scale = case.slope * 0.6, case.scale * 2  # an overlap that 1000 datapoints resolve
    case = LinearGaussian(
        case.loadings, case.offset, case.noise, slope, -slope @ case.offset, scale
    )
    parts = diagnostics.surgery(case.pair(), case.draw(1000, seed=8))
    information, excess = gaussian_information(slope, covariance, scale)
    bias = excess / 2000
    assert bias < 0.01
    spread = float(parts.terms["standard_error"].sel(term="mutual_information"))
    assert abs(mean(parts, "mutual_information") + bias - information) < 4.5 * spread
    total = slope @ covariance @ slope.T + torch.diag(scale**2)
    zero, one = torch.zeros(2).double(), torch.eye(2).double()
    marginal = float(kl_divergence(MultivariateNormal(zero, total), MultivariateNormal(zero, one)))
    spread = float(parts.terms["standard_error"].sel(term="marginal_kl"))
    assert abs(mean(parts, "marginal_kl") - bias - marginal) < 4.5 * spread
    correlation = 0.5 * float(total.diagonal().log().sum() - torch.logdet(total))
    spread = float(parts.terms["standard_error"].sel(term="total_correlation"))
    assert abs(mean(parts, "total_correlation") - correlation) < 4.5 * spread + bias


def test_information_saturates_at_log_n():
    x = torch.arange(40.0, dtype=torch.float64)[:, None]
    sharp = diagnostics.surgery(Normals(1e-3), x)
    assert mean(sharp, "mutual_information") == pytest.approx(math.log(40), abs=1e-9)
    assert mean(sharp, "mutual_information") <= math.log(40) + 1e-12
    assert sharp.saturated
    blunt = diagnostics.surgery(Normals(100.0), x)
    assert 0 <= mean(blunt, "mutual_information") < 0.1
    assert not blunt.saturated


def test_one_dimension_has_no_total_correlation():
    parts = diagnostics.surgery(Normals(), torch.randn(30, 1))
    assert mean(parts, "total_correlation") == 0
    assert mean(parts, "dimension_kl") == pytest.approx(mean(parts, "marginal_kl"), abs=1e-6)


def test_dead_dimensions_are_named():
    x = torch.randn(200, 3)
    x[:, 1] = 0.0
    parts = diagnostics.surgery(Normals(), x)
    assert parts.dead == ("z[1]",)
    assert float(parts.dimension_information.z[1]) == pytest.approx(0.0, abs=1e-6)
    units = diagnostics.active_units(Normals(), x)
    assert units.dead == ("z[1]",)


class TwoSites:
    """Two latents, one of three times in a plate, independent given the data."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("time", 3, dim=-1):
                b = pyro.sample("b", dist.Normal(x.new_zeros(()), 1.0))
                pyro.sample("x", dist.Normal(a + b, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("a", dist.Normal(x.mean(1, keepdim=True), 0.5))
            with pyro.plate("time", 3, dim=-1):
                pyro.sample("b", dist.Normal(x / 2, 0.6))


def test_several_sites_are_taken_together():
    x = torch.randn(25, 3, dtype=torch.float64)
    parts = diagnostics.surgery(TwoSites(), x, draws=300)
    assert parts.dimension_kl.b.dims == ("time",)
    assert parts.dimension_kl.a.dims == ()
    loc = torch.cat([x.mean(1, keepdim=True), x / 2], 1)
    scale = torch.tensor([0.5, 0.6, 0.6, 0.6], dtype=torch.float64)
    generator = torch.Generator().manual_seed(1)
    z = loc + scale * torch.randn(20_000, 25, 4, generator=generator, dtype=torch.float64)
    own = Normal(loc, scale).log_prob(z).sum(-1)
    total = torch.stack(
        [Normal(loc, scale).log_prob(row[:, None]).sum(-1).logsumexp(-1) for row in z.unbind(1)], 1
    ) - math.log(25)
    by_hand = own - total
    both = math.hypot(
        error(parts, "mutual_information"), float((by_hand.var(0) / 20_000).sum().sqrt()) / 25
    )
    assert abs(mean(parts, "mutual_information") - float(by_hand.mean())) < 4.5 * both


class PlateLeftOfData:
    """`Normals` with its dimensions in a plate left of the data plate."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("time", x.shape[1], dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x.T)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1), pyro.plate("time", x.shape[1], dim=-2):
            pyro.sample("z", dist.Normal(x.T, 0.5))


def test_plate_left_of_the_data():
    x = correlated(20)
    parts = diagnostics.surgery(PlateLeftOfData(), x, draws=2000)
    for term, exact in integrated(x, 0.5)[0].items():  # false alarm of all below 1e-4
        assert abs(mean(parts, term) - exact) < 4.5 * error(parts, term)
    assert parts.dimension_kl.z.dims == ("time",)


class FullRank(Normals):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            covariance = torch.tensor([[0.5, 0.2], [0.2, 0.4]], dtype=x.dtype)
            pyro.sample("z", dist.MultivariateNormal(x, covariance))


def test_guide_that_is_no_product_has_information_but_no_total_correlation():
    x = torch.randn(30, 2, dtype=torch.float64)
    parts = diagnostics.surgery(FullRank(), x, draws=50)
    assert "guide's distribution of 'z' is not independent" in parts.undefined["total_correlation"]
    assert math.isnan(mean(parts, "total_correlation"))
    assert math.isnan(mean(parts, "dimension_kl"))
    assert parts.dead == ()
    information = mean(parts, "mutual_information")
    assert 0 < information < math.log(30)
    assert mean(parts, "kl") == pytest.approx(information + mean(parts, "marginal_kl"))


class CorrelatedPrior(Normals):
    def model(self, x):
        with pyro.plate("data", len(x)):
            covariance = torch.tensor([[1.0, 0.7], [0.7, 1.0]], dtype=x.dtype)
            z = pyro.sample("z", dist.MultivariateNormal(x.new_zeros(2), covariance))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class ConditionalPrior(Normals):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x / 9, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


def test_priors_that_leave_terms_undefined_are_named():
    x = correlated(20)
    parts = diagnostics.surgery(CorrelatedPrior(), x, draws=2000, seed=3)
    assert list(parts.undefined) == ["dimension_kl"]
    exact, _ = integrated(x, 0.5)
    for term in ("mutual_information", "total_correlation"):
        assert abs(mean(parts, term) - exact[term]) < 4.5 * error(parts, term)
    parts = diagnostics.surgery(ConditionalPrior(), x, draws=2000, seed=3)
    assert sorted(parts.undefined) == ["dimension_kl", "marginal_kl"]
    assert "'z' differs between datapoints" in parts.undefined["marginal_kl"]
    assert math.isnan(mean(parts, "marginal_kl"))
    for term in ("mutual_information", "total_correlation"):
        assert abs(mean(parts, term) - exact[term]) < 4.5 * error(parts, term)


def test_discrete_latent_that_is_summed_out_leaves_no_product_prior():
    parts = diagnostics.surgery(strangers.Marginalized(), torch.randn(40), draws=50)
    assert list(parts.undefined) == ["dimension_kl"]
    assert mean(parts, "total_correlation") == 0


class HiddenNoise(Normals):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x + torch.randn_like(x), 0.5).to_event(1))


class Masked(Normals):
    def guide(self, x):
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x[:, 0] > 0):
            pyro.sample("z", dist.Normal(x, 0.5).to_event(1))


class Point(Normals):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x).to_event(1))


class MovingSupport(Normals):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Uniform(x - 0.1, x + 0.1).to_event(1))


class OwnDraws(dist.Normal):
    """Knows the density of its own draws alone, like a flow without inverse."""

    def rsample(self, sample_shape=()):
        self.drawn = super().rsample(sample_shape)
        return self.drawn

    def log_prob(self, value):
        if value is not self.__dict__.get("drawn"):
            raise NotImplementedError("no inverse")
        return super().log_prob(value)


class NoInverse(Normals):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", OwnDraws(x, 0.5).to_event(1))


@pytest.mark.parametrize(
    ("pair", "x", "message"),
    [
        (MovingSupport(), torch.randn(9, 2), "at another, at latent site 'z': they lie outside"),
        (
            NoInverse(),
            torch.randn(9, 2),
            "site 'z' OwnDraws has no density at other draws",
        ),
        (strangers.TwoLatents(), torch.randn(9), "distribution of latent site 'odd name' changes"),
        (strangers.TopDown(), torch.randn(9), "distribution of latent site 'b' changes"),
        (HiddenNoise(), torch.randn(9, 2), "distribution of latent site 'z' changes"),
        (Masked(), torch.randn(9, 2), "latent site 'z' is masked"),
        (Point(), torch.randn(9, 2), "at latent site 'z' the guide gives a single point"),
        (Normals(), torch.randn(1, 2), "at least 2 datapoints, got 1"),
    ],
)
def test_what_has_no_aggregate_is_refused(pair, x, message):
    with pytest.raises(ppvae.Unsupported, match=message):
        diagnostics.surgery(pair, x)


def test_threshold_is_checked():
    with pytest.raises(ValueError, match="threshold must be at least 0, got -1"):
        diagnostics.surgery(Normals(), torch.randn(9, 2), threshold=-1)


@pytest.mark.parametrize(
    "posterior",
    [
        lambda network: posteriors.FlowPosterior(network, 2, context=3),
        posteriors.FullRankNormal,
        lambda network: posteriors.LowRankNormal(network, rank=1),
        lambda network: posteriors.NormalMixture(network, components=2),
        posteriors.Laplace,
    ],
)
def test_own_posteriors_are_scored_at_other_data(posterior):
    torch.manual_seed(2)
    outputs = posterior(nn.Identity()).outputs_for(2)
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(nn.Linear(2, 3), scale=0.7),
        posterior(nn.Linear(3, outputs)),
    ).double()
    x = torch.randn(12, 3, dtype=torch.float64)
    parts = diagnostics.surgery(pair, x, draws=3, seed=5)
    z = torch.as_tensor(
        diagnostics.to_arviz(pair, x, draws=3, seed=5, predictive=False)["posterior"]["z"].values[
            0
        ]
    )
    with torch.no_grad():
        scores = torch.stack([pair.encode(row[None]).log_prob(z) for row in x], -1)
    own = torch.diagonal(scores, dim1=1, dim2=2)
    by_hand = own - (scores.logsumexp(-1) - math.log(12))
    assert mean(parts, "mutual_information") == pytest.approx(float(by_hand.mean()), abs=1e-8)


def test_fixed_plate_and_networks_of_one_batch_dimension():
    x = torch.randn(64, 1)
    for pair in (strangers.FixedPlate(), strangers.OneBatchDimension(), strangers.RefusesTwo()):
        assert 0 < mean(diagnostics.surgery(pair, x, draws=2), "mutual_information") < math.log(64)


def bound(surgery, term, side):
    return float(surgery.bounds[side].sel(term=term))


@pytest.mark.parametrize(("latent", "features"), [(2, 5), (10, 30), (30, 60)])
def test_bounds_hold_for_exact_pairs_of_any_number_of_latents(latent, features):
    pair = exact_pairs.LinearGaussian(latent, features)
    parts = diagnostics.surgery(pair, pair.simulate(300, 1), draws=2)
    information = -0.5 * float(torch.logdet(pair.covariance))
    error = float(parts.bounds.upper_error.sel(term="mutual_information"))
    assert parts.saturated == (latent > 2)
    assert bound(parts, "mutual_information", "lower") < information + 4 * error
    assert bound(parts, "mutual_information", "upper") > information - 4 * error
    assert bound(parts, "marginal_kl", "lower") < 0.1
    assert bound(parts, "marginal_kl", "upper") > 0
    if latent > 2:  # where the estimate is log N away from the truth, the bounds say so
        assert bound(parts, "marginal_kl", "upper") > 5


# KL[N(m, s^2) || N(0, 1)] = (s^2 + m^2 - 1) / 2 - log s for each of ten latents.
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 0.5), (2.0, 1.0)])
def test_a_prior_that_does_not_fit_is_found_where_the_estimate_is_saturated(shift, scale):
    pair = exact_pairs.LinearGaussian(10, 30, shift=shift, scale=scale)
    parts = diagnostics.surgery(pair, pair.simulate(500, 1), draws=2)
    assert parts.saturated
    ratio = 1 / scale
    exact = 10 * ((ratio**2 + (shift / scale) ** 2 - 1) / 2 - math.log(ratio))
    lower, error = bound(parts, "marginal_kl", "lower"), bound(parts, "marginal_kl", "lower_error")
    assert exact - 0.5 - 4 * error < lower < exact + 4 * error
    assert lower - 2 * error > 5


def test_the_upper_bound_leaves_the_own_component_out():
    case = LinearGaussian.random(1, latent=3)
    x = case.draw(60, seed=2)
    pair, arguments = case.pair(), {"draws": 5, "seed": 4}
    parts = diagnostics.surgery(pair, x, **arguments)
    drawn = diagnostics.to_arviz(pair, x, predictive=False, **arguments)
    z = torch.as_tensor(drawn["posterior"]["z"].values[0])
    scores = case.guide(x).log_prob(z[:, :, None])
    own = scores.diagonal(dim1=1, dim2=2)
    others = scores.masked_fill(torch.eye(60).bool(), -math.inf).logsumexp(-1) - math.log(59)
    kl = mean(parts, "kl")
    assert bound(parts, "mutual_information", "upper") == pytest.approx(
        min(kl, float((own - others).mean())), abs=1e-9
    )
    lower = bound(parts, "mutual_information", "lower")
    assert lower == pytest.approx(mean(parts, "mutual_information"))


def test_a_fitted_normal_is_a_density_of_constrained_latents():
    # Of log-normal draws, log g is near their own density, and E[log g - log p] below their KL.
    prior = {"z": {"fn": dist.LogNormal(torch.zeros(3), 1.0).to_event(1)}}
    generator = torch.Generator().manual_seed(0)
    inner = 0.5 * torch.randn(2, 500, 3, generator=generator, dtype=torch.float64) + 1
    z = inner.exp()
    own = dist.LogNormal(torch.ones(3).double(), 0.5).to_event(1).log_prob(z)
    fitted = held_out_normal({"z": z}, prior)
    assert -0.1 < float((fitted - own).mean()) < 0.0
    simplex = {"z": {"fn": dist.Dirichlet(torch.ones(4))}}
    z = dist.Dirichlet(torch.full((4,), 3.0)).sample((1, 500))
    own = dist.Dirichlet(torch.full((4,), 3.0)).log_prob(z)
    assert -0.3 < float((held_out_normal({"z": z}, simplex) - own).mean()) < 0.05


def test_latents_without_a_map_from_the_line_have_no_normal_bound():
    flags = torch.ones(1, 50)
    assert held_out_normal({"z": flags}, {"z": {"fn": dist.Bernoulli(torch.tensor(0.5))}}) is None
    assert held_out_normal({"z": flags[:, :4]}, {"z": {"fn": dist.Normal(0.0, 1.0)}}) is None
    own = {"z": {"fn": dist.Uniform(torch.zeros(50), torch.arange(50.0) + 2)}}
    assert held_out_normal({"z": flags}, own) is None  # other bounds at each datapoint
