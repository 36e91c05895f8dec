"""Stacking weights against closed cases, scipy and their own certificate."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from ppvae.diagnostics.comparison.stacking import stacking_weights


def score(weights, log_densities):
    return float(np.log(np.exp(log_densities) @ weights).mean())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("models", [2, 3, 6])
def test_scipy_finds_no_better(models, seed):
    values = np.random.default_rng(seed).normal(size=(200, models)) * 1.5
    found = stacking_weights(values, tolerance=1e-11)
    assert abs(found.weights.sum() - 1) < 1e-12
    assert (found.weights >= 0).all()
    assert abs(found.log_score - score(found.weights, values)) < 1e-12
    constraint = {"type": "eq", "fun": lambda weights: weights.sum() - 1}
    peer = minimize(
        lambda weights: -score(weights, values),
        np.full(models, 1 / models),
        jac=lambda weights: -(np.exp(values) / (np.exp(values) @ weights)[:, None]).mean(0),
        bounds=[(0, 1)] * models,
        constraints=constraint,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    assert found.log_score >= -peer.fun - 1e-11
    assert abs(found.log_score + peer.fun) < 1e-8
    assert abs(found.weights - peer.x).max() < 1e-4


# Two densities a, b of which m of n points prefer the first by the odds r, the rest the second:
# the derivative of the score vanishes at w = (m/n r - (1 - m/n)) / (r - 1), cut to [0, 1].
@pytest.mark.parametrize("preferring", [1, 30, 50, 70, 99])
def test_two_models_have_the_weights_of_the_closed_form(preferring):
    odds, count = 9.0, 100
    share = preferring / count
    values = np.full((count, 2), -3.0)
    values[:preferring, 0] += math.log(odds)
    values[preferring:, 1] += math.log(odds)
    exact = min(1, max(0, (share * odds - (1 - share)) / (odds - 1)))
    assert abs(stacking_weights(values, tolerance=1e-12).weights[0] - exact) < 1e-6


def test_models_of_disjoint_support_weigh_as_often_as_they_are_right():
    values = np.full((10, 3), -math.inf)
    values[:7, 0], values[7:9, 1], values[9:, 2] = -1e4, 5.0, 1e4
    assert np.allclose(stacking_weights(values).weights, [0.7, 0.2, 0.1], atol=1e-8)


def test_a_model_that_is_always_worse_has_no_weight():
    values = np.random.default_rng(0).normal(size=(50, 1)) + np.array([[0.0, -0.1, -2000.0]])
    found = stacking_weights(values)
    assert found.weights[0] > 1 - 1e-7
    assert found.gap <= 1e-9


def test_one_model_has_all_the_weight():
    assert stacking_weights(np.zeros((4, 1))).weights == [1.0]


def test_equal_models_share_it_in_any_way():
    found = stacking_weights(np.zeros((4, 3)))
    assert found.gap < 1e-12
    assert found.log_score == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_hard_cases_are_certified(seed):
    generator = np.random.default_rng(seed)
    scale = 10 ** generator.uniform(-4, 3)
    values = scale * generator.standard_t(1.5, size=(int(generator.integers(1, 300)), 8))
    assert stacking_weights(values).gap <= 1e-9


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"must have shape \(data, model\).*\(3,\)"),
        (np.full((2, 2), math.nan), "datapoint 0 hold a NaN"),
        (np.array([[0.0, 1.0], [-math.inf, -math.inf]]), "datapoint 1 hold"),
    ],
)
def test_what_is_no_density_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        stacking_weights(values)


def test_a_tolerance_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="tolerance must be positive, got 0"):
        stacking_weights(np.zeros((2, 2)), tolerance=0)
