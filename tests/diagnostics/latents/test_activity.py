"""Active units and the KL of each dimension against what is known."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import constraints

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from tests import exact_pairs, strangers
from tests.linear_gaussian import LinearGaussian


def test_variance_of_the_posterior_mean_is_exact():
    case = LinearGaussian.random(1, latent=3)
    x = case.draw(50, seed=2)
    units = diagnostics.active_units(case.pair(), x)
    assert np.allclose(units.variance.z, (x @ case.slope.T).var(0))
    assert units.count == 3


def test_dead_dimensions_are_counted_out():
    case = LinearGaussian.random(3, latent=3)
    slope = case.slope.clone()
    slope[1] = 0
    case = LinearGaussian(
        case.loadings, case.offset, case.noise, slope, case.intercept, case.scale
    )
    units = diagnostics.active_units(case.pair(), case.draw(50, seed=4))
    assert units.active.z.values.tolist() == [True, False, True]
    assert units.count == 2


class Blind:
    """Two latents of which the guide draws one without a look at the data."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("blind", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            z = pyro.sample("seeing", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("blind", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("seeing", dist.Normal(x / 2, math.sqrt(0.5)))


def test_variance_of_averages_over_draws_is_corrected():
    # With 5 draws an average of a blind latent has variance 1/5: uncorrected it looks active.
    x = torch.randn(4000)
    units = diagnostics.active_units(Blind(), x, draws=5)
    error = math.sqrt(2 / 4000) / 5
    assert bool((units.variance.blind < 4 * error).all())
    exact = float(x.var() / 4)
    assert float(units.variance.seeing) == pytest.approx(exact, abs=5 * exact * error * 5)
    many = diagnostics.active_units(Blind(), x, draws=200)
    assert many.active.blind.values.tolist() == [False, False]
    assert many.count == 1


def test_latents_in_a_plate_right_of_the_data():
    x = torch.randn(64, 3)
    units = diagnostics.active_units(strangers.PlateNotRightmost(), x)
    assert float(units.variance.z.squeeze()) == pytest.approx(
        float((x.sum(1) / 4).var()), rel=1e-5
    )


def test_kl_of_dimensions_sums_to_the_kl():
    case = LinearGaussian.random(5, latent=3)
    pair, x = case.pair(), case.draw(20, seed=6)
    kl = diagnostics.kl_per_dimension(pair, x)
    assert kl.dims == ("z_dim_0",)
    loc, scale = x @ case.slope.T + case.intercept, case.scale
    exact = 0.5 * (scale**2 + loc**2 - 1) - scale.log()
    assert np.allclose(kl, exact.mean(0))
    assert float(kl.sum()) == pytest.approx(float(diagnostics.evidence(pair, x).kl.mean()))


class FullRank(nn.Module):
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.MultivariateNormal(x.new_zeros(2), torch.eye(2)))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(x / 2, 0.5 * torch.eye(2)))


@pytest.mark.parametrize(
    ("pair", "x", "message"),
    [
        (Blind(), torch.zeros(3), r"one latent.*, got latents \['blind', 'seeing'\]"),
        (FullRank(), torch.zeros(3, 2), "does not split into dimensions"),
    ],
)
def test_kl_that_does_not_split_is_refused(pair, x, message):
    with pytest.raises(ppvae.Unsupported, match=message):
        diagnostics.kl_per_dimension(pair, x)


def test_full_rank_guide_has_exact_means_and_evidence():
    x = torch.randn(30, 2)
    units = diagnostics.active_units(FullRank(), x)
    assert np.allclose(units.variance.z, (x / 2).var(0), atol=1e-6)
    evidence = diagnostics.evidence(FullRank(), x, draws=5)
    exact = dist.Normal(0.0, math.sqrt(2)).log_prob(x).sum(1)
    assert np.allclose(evidence.log_evidence, exact, atol=1e-4)
    assert bool((evidence.kl_error == 0).all())  # torch knows the KL of two full-rank normals


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"data": torch.zeros(1, 5)}, ppvae.Unsupported, "at least 2 datapoints, got 1"),
        ({"threshold": -1.0}, ValueError, "threshold must be at least 0, got -1.0"),
        ({"draws": 1}, ValueError, "draws >= 2, got 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    case = LinearGaussian.random(7)
    chosen = {"data": case.draw(9, seed=8), **arguments}
    with pytest.raises(error, match=message) as raised:
        diagnostics.active_units(case.pair(), chosen.pop("data"), **chosen)
    assert type(raised.value) is error


class Images(nn.Module):
    """Convolutions over images with channels, which take one batch dimension only."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 4))
        self.up = nn.Sequential(nn.Linear(2, 48), nn.Unflatten(-1, (3, 4, 4)), nn.Conv2d(3, 2, 1))

    def forward(self, x):
        raise NotImplementedError


@pytest.mark.verify
def test_convolutions_are_run_draw_by_draw():
    torch.manual_seed(1)
    networks = Images()
    pair = ppvae.VAE(
        priors.StandardNormal(2),
        likelihoods.Normal(networks.up, scale=0.7, event_dim=3),
        posteriors.DiagonalNormal(networks.down),
    )
    x = torch.randn(6, 2, 4, 4)
    weights = diagnostics.weights(pair, x, draws=4000)
    # The same by hand, on other draws: both estimate the same ELBO.
    guide = pair.encode(x)
    z = guide.sample((4000,)).detach()
    with torch.no_grad():
        loc = networks.up(z.reshape(-1, 2)).reshape(4000, 6, 2, 4, 4)
    by_hand = (
        dist.Normal(loc, 0.7).to_event(3).log_prob(x)
        + dist.Normal(0.0, 1.0).expand([2]).to_event(1).log_prob(z)
        - guide.log_prob(z)
    ).detach()
    error = np.sqrt(2 * by_hand.var(0).numpy() / 4000)
    difference = weights.mean("draw").values - by_hand.mean(0).numpy()
    assert (abs(difference) < 4.5 * error).all()


class Scaled:
    """z ~ N(0, unit^2), x | z ~ N(z / unit, 1), the guide exact; "blind" likewise, unused."""

    def __init__(self, unit):
        self.unit = unit

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("blind", dist.Normal(x.new_zeros(3), self.unit).to_event(1))
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), self.unit))
            pyro.sample("x", dist.Normal(z / self.unit, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("blind", dist.Normal(x.new_zeros(3), self.unit).to_event(1))
            pyro.sample("z", dist.Normal(self.unit * x / 2, self.unit * math.sqrt(0.5)))


@pytest.mark.parametrize("unit", [1e-4, 1.0, 3.0, 1e4])
@pytest.mark.parametrize("rows", [20, 200])
def test_units_of_the_latents_do_not_matter(unit, rows):
    x = torch.randn(rows, generator=torch.Generator().manual_seed(0)) * math.sqrt(2)
    for seed in range(3):
        units = diagnostics.active_units(Scaled(unit), x, seed=seed)
        assert units.count == 1
        assert bool(units.active.z)
        assert float(units.prior_variance.z) == pytest.approx(unit**2)


@pytest.mark.parametrize(
    "pair",
    [
        exact_pairs.GammaPoisson(2.0, 100.0, 50),
        exact_pairs.BetaBinomial(30.0, 30.0, 20),
        exact_pairs.DirichletMultinomial(20, 1.0, 50),
    ],
)
def test_small_priors_have_active_latents(pair):
    units = diagnostics.active_units(pair, pair.simulate(200, 0))
    assert float(units.variance.z.max()) < 0.01
    assert units.dead == ()


class Spread(nn.Module):
    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 1.0))


def test_the_variance_of_the_prior_is_exact_or_that_of_draws():
    x = torch.randn(100)
    for prior, expected, tolerance in (
        (dist.Laplace(0.0, 3.0), 18.0, 1e-6),
        (dist.Cauchy(0.0, 2.0), (2 * math.tan(math.pi * 0.34134)) ** 2, 0.5),  # no variance
        (dist.ImproperUniform(constraints.real, (), ()), 1.25, 0.5),  # no draws: the guide's
    ):
        units = diagnostics.active_units(Spread(prior), x)
        assert float(units.prior_variance.z) == pytest.approx(expected, rel=tolerance)
    chain = diagnostics.active_units(strangers.TwoLatents(), x)
    assert float(chain.prior_variance["odd name"]) == pytest.approx(1.0, rel=0.25)
    assert float(chain.prior_variance.b) == pytest.approx(2.0, rel=0.25)
