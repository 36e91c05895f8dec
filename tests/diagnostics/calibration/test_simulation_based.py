"""Calibration against exact guides, and against faults of known size.

An exact guide raises an alarm in one test of a thousand; all seeds are fixed.
"""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.transforms import Planar
from scipy.stats import binom, chi2, norm

import ppvae
from ppvae import VAE, diagnostics, likelihoods, pairs, posteriors, priors
from ppvae import data as datasets
from tests import strangers
from tests.correlated_gaussian import CorrelatedGaussian
from tests.diagnostics.export.test_pairs import groups, read
from tests.exact_pairs import TwoObservedSites
from tests.linear_gaussian import LinearGaussian
from tests.marks import slow_but

FALSE_ALARM = 0.001
TEMPLATE = torch.zeros(10, 10)


def smallest(p_values):
    return min(float(array.min()) for array in p_values.values())


SEEN = torch.arange(12).reshape(4, 3) % 4 > 0
EXACT = {
    "two latents": (strangers.TwoLatents(), torch.zeros(7)),
    "top down": (strangers.TopDown(), torch.zeros(7)),
    "plate right of data": (strangers.PlateNotRightmost(), torch.zeros(7, 3)),
    "masked loop": (strangers.MaskedLoop(), (torch.zeros(4, 3), SEEN)),
    "summed out": (strangers.Marginalized(), torch.zeros(7)),
    "discrete": (strangers.SampledDiscrete(), torch.zeros(7)),
    "one batch dimension": (strangers.OneBatchDimension(), torch.zeros(7, 1)),
    "fixed plate": (strangers.FixedPlate(), torch.zeros(64, 1)),
    "linear Gaussian": (
        LinearGaussian.random(0, latent=3, orthogonal=True, perturbation=0.0).pair(),
        torch.zeros(7, 5),
    ),
    "correlated": (CorrelatedGaussian(2), torch.zeros(7, 4)),
}


SHARPEST = {
    "plate right of data",
    "masked loop",
    "summed out",
    "one batch dimension",
    "correlated",
}


@pytest.mark.parametrize("pair, x", slow_but(SHARPEST, EXACT))
def test_exact_guides_raise_no_alarm(pair, x):
    few = {"simulations": 300, "seed": 3}
    draws = 19 if isinstance(pair, strangers.OneBatchDimension) else 99
    ranks = diagnostics.sbc(pair, x, draws=draws, **few)
    assert ranks.ranks.sizes["simulation"] == 300
    for array in ranks.ranks.values():
        assert 0 <= int(array.min()) and int(array.max()) <= draws
    assert smallest(ranks.p_value_adjusted) > FALSE_ALARM
    assert smallest(diagnostics.vsbc(pair, x, draws=draws, **few).p_value_adjusted) > FALSE_ALARM
    regions = diagnostics.coverage(pair, x, draws=draws, levels=(0.1, 0.5, 0.9), **few)
    assert smallest(regions.p_value_adjusted) > FALSE_ALARM


def test_sbc_sees_a_shift_and_a_scale():
    for fault in ({"shift": 0.3}, {"scale": 0.7}, {"scale": 1.5}):
        result = diagnostics.sbc(CorrelatedGaussian(**fault), TEMPLATE)
        assert float(result.p_value_adjusted.z.max()) < 0.01, fault


def test_only_densities_see_correlations_that_are_missing():
    pair = CorrelatedGaussian(diagonal=True)
    ranks = diagnostics.sbc(pair, TEMPLATE)
    assert float(ranks.p_value_adjusted.log_joint) < 1e-6
    assert float(ranks.p_value_adjusted.z.min()) > FALSE_ALARM
    regions = diagnostics.coverage(pair, TEMPLATE)
    assert float(regions.p_value_adjusted.joint.min()) < 0.01
    assert float(regions.p_value_adjusted.z.min()) > FALSE_ALARM


def test_vsbc_sees_shifts_only_and_says_how_large():
    result = diagnostics.vsbc(CorrelatedGaussian(shift=0.3), TEMPLATE)
    assert float(result.p_value_adjusted.z.max()) < 0.01
    # z' - z is N(0.3, 2) in posterior standard deviations.
    error = result.probability.z.std("simulation") / math.sqrt(1000)
    off = (result.probability.z.mean("simulation") - norm.cdf(0.3 / math.sqrt(2))) / error
    assert float(np.abs(off).max()) < norm.ppf(1 - FALSE_ALARM / 20)
    wide = diagnostics.vsbc(CorrelatedGaussian(scale=0.7), TEMPLATE)
    assert float(wide.p_value_adjusted.z.min()) > FALSE_ALARM


def rank_masses(below, weights, draws):
    """P(rank = r) of a truth below which a draw lies with probability `below`."""
    return (binom.pmf(np.arange(draws + 1)[:, None], draws, below) * weights).sum(1)


@pytest.mark.parametrize("scale", [0.7, 1.5])
def test_coverage_of_a_wrong_scale_is_the_exact_one(scale):
    draws, simulations, levels = 49, 2000, (0.5, 0.9)
    pair = CorrelatedGaussian(2, scale=scale)
    result = diagnostics.coverage(
        pair, torch.zeros(5, 4), simulations=simulations, draws=draws, levels=levels
    )
    assert result.coverage.level.values.tolist() == pytest.approx([0.52, 0.92])
    grid = (np.arange(20000) + 0.5) / 20000
    central = rank_masses(norm.cdf(norm.ppf(grid) / scale), 1 / 20000, draws)
    nearer = rank_masses(chi2.cdf(chi2.ppf(grid, 4) / scale**2, 4), 1 / 20000, draws)
    tail = FALSE_ALARM / 20  # ten numbers, two sides
    for row, size in enumerate((26, 46)):
        left = (draws + 1 - size) // 2
        for values, exact in (
            (result.coverage.z[row], central[left : left + size].sum()),
            (result.coverage.joint[row], nearer[:size].sum()),
        ):
            hits = np.atleast_1d(np.round(values.values * simulations))
            assert (binom.ppf(tail, simulations, exact) <= hits).all()
            assert (hits <= binom.ppf(1 - tail, simulations, exact)).all()
        nominal = size / (draws + 1)
        error = math.sqrt(nominal * (1 - nominal) / simulations)
        assert float(result.standard_error[row]) == pytest.approx(error)


class Dice:
    """k is 0 or 1, fair, and x | k Poisson of 1 or 4: every log density has many ties."""

    def __init__(self, fault=0.0):
        self.fault = fault

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(x.new_full((), 0.5)))
            pyro.sample("x", dist.Poisson(1 + 3 * k), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Bernoulli(logits=x * math.log(4) - 3 + self.fault))


def test_ties_are_broken_at_random():
    exact = diagnostics.sbc(Dice(), torch.zeros(3))
    assert smallest(exact.p_value_adjusted) > FALSE_ALARM
    assert len(np.unique(exact.ranks.log_joint)) == 100
    faulty = diagnostics.sbc(Dice(1.0), torch.zeros(3))
    assert float(faulty.p_value_adjusted.k) < 1e-3


class Rounded(Dice):
    """Dice whose densities depend in their last digits on whether draws are vectorized."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(x.new_full((), 0.5)))
            rate = (1 + 3 * k) * (1 + 3e-7 * (k.dim() > 1))
            pyro.sample("x", dist.Poisson(rate), obs=x)


def test_ties_are_ties_whatever_the_rounding():
    result = diagnostics.sbc(Rounded(), torch.zeros(3))
    assert smallest(result.p_value_adjusted) > FALSE_ALARM


def test_sites_and_plates_name_the_dims():
    result = diagnostics.sbc(CorrelatedGaussian(1), torch.zeros(3, 2), simulations=5, draws=4)
    assert result.ranks.z.dims == ("simulation", "z_dim_0")
    assert result.ranks.log_joint.dims == ("simulation",)
    assert result.ranks.attrs["draws"] == 4
    assert "not on real data" in result.p_value_adjusted.attrs["tests"]
    regions = diagnostics.coverage(
        CorrelatedGaussian(1), torch.zeros(3, 2), simulations=5, draws=9, levels=[0.8]
    )
    assert regions.p_value.z.dims == ("level", "z_dim_0")
    assert "not on real data" in regions.coverage.attrs["tests"]
    center = diagnostics.vsbc(CorrelatedGaussian(1), torch.zeros(3, 2), simulations=5, draws=4)
    assert "not on real data" in center.probability.attrs["tests"]


def test_the_seed_repeats_and_changes_the_ranks():
    pair, x = CorrelatedGaussian(1), torch.zeros(3, 2)
    first, again, other = (
        diagnostics.sbc(pair, x, simulations=20, draws=9, seed=seed) for seed in (1, 1, 2)
    )
    assert first.ranks.equals(again.ranks)
    assert not first.ranks.equals(other.ranks)


def test_little_memory_gives_ranks_of_the_same_distribution():
    result = diagnostics.sbc(
        CorrelatedGaussian(1), torch.zeros(3, 2), simulations=200, draws=19, memory=20_000
    )
    assert result.ranks.sizes["simulation"] == 200
    assert smallest(result.p_value_adjusted) > FALSE_ALARM


def test_convolutions_and_float64():
    digits = datasets.digits()
    pair = pairs.assemble(digits, latent=2).double()
    result = diagnostics.sbc(pair, digits.test[:3], simulations=50, draws=9)
    assert result.ranks.z.shape == (50, 2)


def test_the_group_that_arviz_draws():
    result = diagnostics.sbc(CorrelatedGaussian(1), torch.zeros(3, 2), simulations=30, draws=9)
    group = result.to_arviz()["prior_sbc"]
    assert group["z"].dims == ("chain", "draw", "z_dim_0")
    assert group["log_joint"].shape == (1, 30)
    assert np.allclose(group["z"][0], (result.ranks.z + 0.5) / 10)


RESULTS = {
    "prior_sbc": lambda pair, x: diagnostics.sbc(pair, x, simulations=30, draws=9),
    "vsbc": lambda pair, x: diagnostics.vsbc(pair, x, simulations=30, draws=9),
    "coverage": lambda pair, x: diagnostics.coverage(
        pair, x, simulations=30, draws=9, levels=(0.4, 0.8)
    ),
    "pit": lambda pair, x: diagnostics.pit(pair, x, draws=9),
}
DIMS = {
    "prior_sbc": ("chain", "draw", "z_dim_0"),
    "vsbc": ("chain", "draw", "z_dim_0"),
    "coverage": ("level", "z_dim_0"),
    "pit": ("chain", "draw", "x_dim_0"),
}


@pytest.mark.parametrize("name, measure", RESULTS.items(), ids=RESULTS.keys())
def test_results_are_groups_of_arviz_and_survive_a_file(name, measure, tmp_path):
    result = measure(CorrelatedGaussian(1), torch.zeros(3, 2))
    exported = result.to_arviz()
    ((found, group),) = groups(exported).items()
    assert found == name
    site = "x" if name == "pit" else "z"
    assert group[site].dims == DIMS[name]
    expected = {
        "prior_sbc": lambda: (result.ranks.z + 0.5) / 10,
        "vsbc": lambda: result.probability.z,
        "coverage": lambda: result.coverage.z,
        "pit": lambda: result.values.x,
    }[name]()
    drawn = group[site] if name == "coverage" else group[site][0]
    assert np.array_equal(drawn.values, expected.values)
    assert group[site].attrs["tests"]
    if name == "coverage":
        assert group.level.values.tolist() == result.coverage.level.values.tolist()
    path = str(tmp_path / "results.nc")
    exported.to_netcdf(path, engine="h5netcdf")
    loaded = read(path)
    assert group.identical(groups(loaded)[name].load())
    if hasattr(loaded, "close"):
        loaded.close()


def test_masked_numbers_of_a_transform_stay_missing():
    x = torch.zeros(4, 3)
    exported = diagnostics.pit(strangers.MaskedLoop(), (x, SEEN), draws=9).to_arviz()
    for time in range(3):
        missing = np.isnan(exported["pit"][f"x_{time}"].values[0])
        assert missing.tolist() == (~SEEN[:, time]).tolist()


class Computed(Dice):
    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(x.new_full((), 0.5)))
            pyro.sample("seen", dist.Poisson(1 + 3 * k), obs=x * 2)


class ReadsItself(Dice):
    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(x.new_full((), 0.5)))
            pyro.sample("seen", dist.Poisson(1 + 3 * k + x.exp()), obs=x)


class MaskedLatent(Dice):
    def model(self, x):
        with pyro.plate("data", len(x)):
            with pyro.poutine.mask(mask=x > 5):
                k = pyro.sample("hidden", dist.Bernoulli(x.new_full((), 0.5)))
            pyro.sample("seen", dist.Poisson(1 + 3 * k), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)), pyro.poutine.mask(mask=x > 5):
            pyro.sample("hidden", dist.Bernoulli(x.new_full((), 0.5)))


class Factor(Dice):
    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(x.new_full((), 0.5)))
            pyro.sample("x", dist.Poisson(1 + 3 * k), obs=x)
            pyro.factor("bonus", x)


class Improper(Dice):
    def model(self, x):
        with pyro.plate("data", len(x)):
            prior = dist.ImproperUniform(dist.constraints.real, (), ())
            k = pyro.sample("k", prior)
            pyro.sample("seen", dist.Poisson(k.exp()), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Normal(x, 1.0))


class Named(Dice):
    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("log_joint", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(k, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("log_joint", dist.Normal(x / 2, 1.0))


class NotFinite(Dice):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = torch.where(x > 0, math.nan, 0.0)
            pyro.sample("k", dist.Normal(loc, 1.0, validate_args=False))


def gray():
    decoder, encoder = torch.nn.Linear(1, 2), torch.nn.Linear(2, 2)
    return VAE(
        priors.StandardNormal(1),
        likelihoods.GrayBernoulli(decoder),
        posteriors.DiagonalNormal(encoder),
    )


REFUSED = {
    "computed": (Computed(), torch.zeros(3), "site 'seen' observes something computed"),
    "reads itself": (ReadsItself(), torch.zeros(3), "site 'seen' has another density"),
    "masked latent": (MaskedLatent(), torch.zeros(3), "latent site 'hidden' is masked"),
    "factor": (Factor(), torch.zeros(3), "at site 'bonus' pyro.factor"),
    "improper": (Improper(), torch.zeros(3), "the model cannot be drawn from"),
    "named": (Named(), torch.zeros(3), "latent site 'log_joint' has the name"),
    "NaN": (NotFinite(), torch.zeros(3), "found invalid values"),
    "pseudo-likelihood": (gray(), torch.full((3, 2), 0.5), "at site 'x' .*pseudo-likelihood"),
}


@pytest.mark.parametrize("pair, x, message", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_simulated_is_refused(pair, x, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.sbc(pair, x, simulations=50, draws=9)


def test_a_site_with_the_name_of_a_quantity_is_refused_by_type():
    with pytest.raises(ppvae.Unsupported, match="latent site 'log_joint' has the name"):
        diagnostics.sbc(Named(), torch.zeros(3), simulations=5, draws=4)


class Point(Named):
    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("log_joint", dist.Delta(x / 2))


def test_regions_of_a_guide_without_density_are_refused():
    with pytest.raises(
        ppvae.Unsupported, match="latent site 'log_joint' the guide gives a single point"
    ):
        diagnostics.coverage(Point(), torch.zeros(3), simulations=50)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"simulations": 0}, "simulations must be at least 1, got 0"),
        ({"draws": 0}, "draws must be at least 1, got 0"),
        ({"memory": 0}, "memory must be at least 1 byte"),
    ],
)
@pytest.mark.parametrize("function", ["sbc", "vsbc", "coverage"])
def test_bad_arguments_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(diagnostics, function)(CorrelatedGaussian(1), torch.zeros(3, 2), **arguments)


@pytest.mark.parametrize(
    "levels, message",
    [
        ((0.5, 1.0), "between 0 and 1, got 1.0"),
        ((0.5, 0.51), "9 draws do not separate regions of the levels 0.5, 0.51"),
        ((0.999,), "9 draws do not separate"),
        ((), "9 draws do not separate"),
    ],
)
def test_levels_that_the_draws_cannot_tell_are_refused(levels, message):
    with pytest.raises(ValueError, match=message):
        diagnostics.coverage(CorrelatedGaussian(1), torch.zeros(3, 2), draws=9, levels=levels)


class OwnDrawsAlone(strangers.RefusesTwo):
    """A flow without an inverse in the guide, and a network for one batch dimension."""

    def __init__(self):
        super().__init__()
        self.flow = Planar(1)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            base = dist.Normal(x / 2, math.sqrt(0.5)).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [self.flow]))


def test_ranks_do_not_need_the_density_of_other_draws():
    ranks = diagnostics.sbc(OwnDrawsAlone(), torch.zeros(8, 1), simulations=8, draws=9).ranks
    assert ranks.z.shape == (8, 1)


@pytest.mark.slow
def test_the_center_of_an_exact_guide_causes_an_alarm_at_the_rate_of_the_test():
    pair = TwoObservedSites(2, 5)
    batch = pair.simulate(500, 0)
    found = [
        diagnostics.vsbc(pair, batch, draws=199, seed=seed, progress=False)
        for seed in range(20, 40)
    ]
    alarms = sum(bool((each.p_value_adjusted.z < 0.05).any()) for each in found)
    assert alarms <= 5  # more of 20, by chance, in one of 3000 runs
