"""Tests of uniformity and symmetry against enumeration, and their false alarms."""

import itertools

import numpy as np
import pytest
import xarray as xr
from scipy.stats import binom, false_discovery_control

from ppvae import diagnostics
from ppvae.diagnostics.rank_tests.multiple_testing import holm
from ppvae.diagnostics.rank_tests.symmetry import reach_probability, symmetry_p_values
from ppvae.diagnostics.rank_tests.uniformity import binomial_p_values, uniform_p_values
from tests.marks import slow_but

ALARMS = 0.001  # of each test of a rate below


def smallest_tail(ranks, draws):
    """The statistic, written anew: `ranks` of shape (quantities, N)."""
    cuts = np.arange(1, draws + 1)
    below = (ranks[:, :, None] < cuts).sum(1)
    z = cuts / (draws + 1)
    count = ranks.shape[1]
    tails = 2 * np.minimum(binom.cdf(below, count, z), binom.sf(below - 1, count, z))
    return np.minimum(tails, 1).min(1)


@pytest.mark.parametrize("count, draws", [(1, 1), (4, 3), (6, 2), (3, 6)])
def test_uniform_p_values_are_those_of_enumeration(count, draws):
    every = np.array(list(itertools.product(range(draws + 1), repeat=count)))
    statistic = smallest_tail(every, draws)
    exact = (statistic[None] <= statistic[:, None] * (1 + 1e-9)).mean(1)
    assert np.allclose(uniform_p_values(every.T, draws), exact, rtol=0, atol=1e-12)


@pytest.mark.parametrize("draws", slow_but({1, 99}, [1, 10, 99, 1000]))
def test_uniform_p_values_give_the_alarms_they_say(draws):
    ranks = np.random.default_rng(0).integers(0, draws + 1, size=(300, 2000))
    p_values = uniform_p_values(ranks, draws)
    for level in (0.01, 0.1):
        alarms = int((p_values <= level).sum())
        assert alarms <= binom.ppf(1 - ALARMS, 2000, level)
        if draws > 1:  # one number of 300 can only have few p-values
            assert alarms >= binom.ppf(ALARMS, 2000, 0.8 * level)


def test_uniform_p_values_see_what_is_not():
    random = np.random.default_rng(1)
    normal = random.standard_normal((1000, 1))
    other = random.standard_normal((1000, 99))
    ranks = np.stack([(other < 0.3 + normal).sum(1), (other < 0.7 * normal).sum(1)], axis=1)
    assert (uniform_p_values(ranks, 99) < 1e-6).all()
    assert (uniform_p_values(np.zeros((1000, 1), int), 99) == 0).all()


def test_small_p_values_are_bounds_that_meet_the_exact_ones():
    # One rank too many in the lowest place, more and more of them.
    ranks = np.stack([np.minimum(np.arange(1000) % 100, 99 - k) for k in range(90)], axis=1)
    p_values = uniform_p_values(ranks, 99)
    assert (np.diff(p_values) <= 1e-12).all()
    assert p_values[0] > 0.9999 and p_values[-1] < 1e-100


def test_missing_ranks_are_left_out():
    random = np.random.default_rng(2)
    few = random.integers(0, 10, size=(50, 1))
    padded = np.concatenate([few, -np.ones((30, 1), int)])
    both = np.concatenate([padded, random.integers(0, 10, size=(80, 1))], axis=1)
    assert uniform_p_values(both, 9)[0] == uniform_p_values(few, 9)[0]
    assert uniform_p_values(np.full((5, 1), -1), 9).tolist() == [1.0]


@pytest.mark.parametrize("probability", [0.5, 0.95])
@pytest.mark.parametrize("count, draws", [(5, 3), (100, 9), (200, 99)])
def test_band_is_left_exactly_where_the_p_value_says(count, draws, probability):
    band = diagnostics.uniform_band(count, draws, probability)
    ranks = np.random.default_rng(3).integers(0, draws + 1, size=(count, 500))
    share = (ranks[:, None] < band.cut.values[:, None]).mean(0)
    lower, upper = band.lower.values[:, None], band.upper.values[:, None]
    left = ((share < lower - 1e-12) | (share > upper + 1e-12)).any(0)
    assert left.any()
    assert (left == (uniform_p_values(ranks, draws) <= 1 - probability)).all()


def test_band_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1"):
        diagnostics.uniform_band(10, 9, 1)


def test_binomial_p_values_are_scipys():
    hits = np.arange(21)[None].repeat(2, 0)
    probabilities = np.array([0.3, 0.9])
    below = binom.cdf(hits, 20, probabilities[:, None])
    above = binom.sf(hits - 1, 20, probabilities[:, None])
    exact = np.minimum(2 * np.minimum(below, above), 1)
    assert np.allclose(binomial_p_values(hits, 20, probabilities), exact, rtol=1e-9)


@pytest.mark.parametrize("count", [60, 3000])
def test_small_tails_are_as_exact_as_large_ones(count):
    hits = np.arange(count + 1)[None]
    probability = np.array([0.03])
    exact = np.minimum(
        2 * np.minimum(binom.cdf(hits, count, 0.03), binom.sf(hits - 1, count, 0.03)), 1
    )
    found = binomial_p_values(hits, count, probability)
    assert np.allclose(found[exact > 1e-100], exact[exact > 1e-100], rtol=1e-11, atol=0)


@pytest.mark.parametrize("steps", [1, 2, 7, 12])
def test_walks_are_those_of_enumeration(steps):
    walks = np.array(list(itertools.product([-1, 1], repeat=steps))).cumsum(1)
    furthest = np.abs(walks).max(1)
    for distance in range(steps + 2):
        exact = (furthest >= distance).mean()
        assert reach_probability(steps, distance) == pytest.approx(exact, 1e-12)


@pytest.mark.slow
def test_symmetry_gives_no_more_alarms_than_it_says():
    # Cups, caps and lumps are symmetric: only the center may raise an alarm.
    random = np.random.default_rng(4)
    wide = np.round(20 * random.standard_normal((400, 1000))).astype(int)
    lumps = random.choice([-3, -1, 1, 3], p=[0.4, 0.1, 0.1, 0.4], size=(400, 1000))
    p_values = symmetry_p_values(np.concatenate([wide, lumps], axis=1))
    for level in (0.01, 0.1):
        assert (p_values <= level).sum() <= binom.ppf(1 - ALARMS, 2000, level)
    assert (p_values[:1000] <= 0.1).sum() >= binom.ppf(ALARMS, 1000, 0.07)


def test_symmetry_sees_shifts_and_skewness():
    random = np.random.default_rng(5)
    shifted = np.round(20 * (random.standard_normal(1000) + 0.3))
    skew = np.round(20 * (random.exponential(size=1000) - np.log(2)))  # its median is 0
    p_values = symmetry_p_values(np.stack([shifted, skew], axis=1).astype(int))
    assert (p_values < 1e-4).all()
    assert symmetry_p_values(np.zeros((5, 1), int)).tolist() == [1.0]


def test_holm_keeps_the_order_and_is_stricter_than_the_rate_of_false_discoveries():
    p = np.array([0.001, 0.01, 0.02, 0.6, 0.04])
    adjusted = holm(xr.Dataset({"a": ("i", p[:2]), "b": ("j", p[2:])}))
    assert np.allclose(adjusted.a, [0.005, 0.04]) and np.allclose(adjusted.b, [0.06, 0.6, 0.08])
    together = np.concatenate([adjusted.a, adjusted.b])
    assert (together >= false_discovery_control(p)).all()
