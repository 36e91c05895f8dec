"""The probability integral transform of observations: uniform for right models, and else not."""

import math

import numpy as np
import pytest
import torch
import xarray as xr
from scipy.stats import chisquare, norm

import ppvae
from ppvae import diagnostics
from tests import strangers
from tests.diagnostics.calibration.test_simulation_based import (
    FALSE_ALARM,
    Dice,
    Factor,
    rank_masses,
    smallest,
)
from tests.linear_gaussian import LinearGaussian


def case(noise=None):
    exact = LinearGaussian.random(0, latent=3, orthogonal=True, perturbation=0.0)
    if noise is None:
        return exact, exact.pair()
    wrong = LinearGaussian(
        exact.loadings, exact.offset, noise, exact.slope, exact.intercept, exact.scale
    )
    return exact, wrong.pair()


def test_right_models_have_uniform_ranks():
    exact, pair = case()
    result = diagnostics.pit(pair, exact.draw(1000, seed=1))
    assert result.ranks.x.dims == ("data", "x_dim_0")
    assert smallest(result.p_value_adjusted) > FALSE_ALARM
    assert 0 < float(result.values.x.min()) and float(result.values.x.max()) < 1
    assert "real data" in result.ranks.attrs["tests"]


@pytest.mark.parametrize("factor", [0.7, 1.5])
def test_ranks_of_a_wrong_noise_have_their_exact_distribution(factor):
    # x - W z under the exact posterior of the true noise is N(0, noise^2), whatever x.
    exact, pair = case(noise=0.7 * factor)
    result = diagnostics.pit(pair, exact.draw(4000, seed=2), draws=9, proposals=1)
    assert smallest(result.p_value_adjusted) < 1e-6
    grid = (np.arange(20000) + 0.5) / 20000
    masses = rank_masses(norm.cdf(norm.ppf(grid) / factor), 1 / 20000, 9)
    for feature in result.ranks.x.values.T:
        observed = np.bincount(feature, minlength=10)
        assert chisquare(observed, 4000 * masses / masses.sum()).pvalue > FALSE_ALARM / 5


def test_discrete_data_are_ranked_in_random_order():
    generator = torch.Generator().manual_seed(3)
    k = torch.randint(2, (1000,), generator=generator)
    x = torch.poisson(1.0 + 3 * k, generator=generator)
    assert smallest(diagnostics.pit(Dice(), x).p_value_adjusted) > FALSE_ALARM
    assert smallest(diagnostics.pit(Dice(), 2 * x).p_value_adjusted) < 1e-6


@pytest.mark.parametrize("kind", [strangers.Marginalized, strangers.SampledDiscrete])
def test_summed_out_sites_are_drawn(kind):
    generator = torch.Generator().manual_seed(4)
    k = (torch.rand(1000, generator=generator) < 0.7).float()
    x = 4 * k - 2 + math.sqrt(2) * torch.randn(1000, generator=generator)
    assert smallest(diagnostics.pit(kind(), x).p_value_adjusted) > FALSE_ALARM


def test_masked_observations_do_not_count():
    generator = torch.Generator().manual_seed(5)
    seen = torch.rand(600, 3, generator=generator) < 0.7
    z = torch.randn(600, 1, generator=generator)
    x = z + torch.randn(600, 3, generator=generator)
    hidden = torch.where(seen, x, 100.0)
    result = diagnostics.pit(strangers.MaskedLoop(), (hidden, seen))
    assert smallest(result.p_value_adjusted) > FALSE_ALARM
    for time in range(3):
        assert (result.ranks[f"x_{time}"].values >= 0).tolist() == seen[:, time].tolist()
        assert result.values[f"x_{time}"].isnull().values.tolist() == (~seen[:, time]).tolist()
    shown = diagnostics.pit(strangers.MaskedLoop(), (hidden, torch.ones_like(seen)))
    assert smallest(shown.p_value_adjusted) < 1e-6


def test_plates_and_networks_of_one_batch_dimension():
    generator = torch.Generator().manual_seed(6)
    z = torch.randn(500, 1, generator=generator)
    x = z + torch.randn(500, 3, generator=generator)
    result = diagnostics.pit(strangers.PlateNotRightmost(), x)
    assert result.p_value.x.dims == ("time",)
    assert smallest(result.p_value_adjusted) > FALSE_ALARM
    single = diagnostics.pit(strangers.OneBatchDimension(), x[:, :1], draws=9)
    assert smallest(single.p_value_adjusted) > FALSE_ALARM
    fixed = diagnostics.pit(strangers.FixedPlate(), x[:64, :1], draws=9)
    assert smallest(fixed.p_value_adjusted) > FALSE_ALARM


def test_little_memory_gives_ranks_of_the_same_distribution():
    exact, pair = case()
    result = diagnostics.pit(pair, exact.draw(300, seed=7), draws=19, memory=50_000)
    assert result.ranks.sizes["data"] == 300
    assert smallest(result.p_value_adjusted) > FALSE_ALARM


@pytest.mark.parametrize("arguments", [{"draws": 0}, {"memory": 0}])
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must be at least 1"):
        diagnostics.pit(Dice(), torch.zeros(3), **arguments)


def test_sites_without_a_distribution_are_refused():
    with pytest.raises(ppvae.Unsupported, match="at site 'bonus' pyro.factor"):
        diagnostics.pit(Factor(), torch.zeros(3))


class WholeOnly(strangers.TwoLatents):
    """A pair that runs on 300 rows and on no other number, with an error of a type of its own."""

    def model(self, x):
        if len(x) != 300:
            raise LookupError("a table has no entry for so many rows")
        super().model(x)


def test_pairs_that_take_all_rows_alone_are_ranked():
    x = 3**0.5 * torch.randn(300, generator=torch.Generator().manual_seed(8))
    result = diagnostics.pit(WholeOnly(), x, draws=9)
    assert smallest(result.p_value_adjusted) > FALSE_ALARM


def test_a_fault_of_the_pair_comes_up_as_it_is():
    with pytest.raises(LookupError, match="a table has no entry"):
        diagnostics.pit(WholeOnly(), torch.zeros(301))


def test_the_gain_of_recalibration_is_that_of_a_known_density():
    """Ranks in the lower half alone: the density is 2 there, so that the gain is log 2."""
    ranks = np.stack([np.arange(1000) % 100, np.arange(1000) % 50], 1)
    columns = xr.Dataset({"x": (("data", "x_dim_0"), ranks)}, attrs={"draws": 99})
    none = xr.Dataset()
    gain = diagnostics.PIT(columns, none, none, xr.DataArray()).recalibration.x.values
    assert gain[0] == 0
    assert gain[1] == pytest.approx(math.log(2) - 9 / 2000)
