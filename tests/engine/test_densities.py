"""Averages of log densities over draws."""

import math

import torch

from ppvae.engine import log_mean_exp, mean_error


def test_log_mean_exp_is_the_log_of_the_mean_weight_and_its_error_the_delta_method():
    log_weights = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)).double()
    weights = log_weights.exp()
    value, error = log_mean_exp(log_weights)
    assert torch.allclose(value, weights.mean(0).log())
    assert torch.allclose(error, weights.std(0) / math.sqrt(50) / weights.mean(0))


def test_a_single_draw_has_no_error():
    value, error = log_mean_exp(torch.tensor([[1.0, -2.0]]))
    assert value.tolist() == [1.0, -2.0]
    assert error.isnan().all()
    assert mean_error(torch.ones(1, 2)).isnan().all()


def test_weights_beyond_the_range_of_floats_have_a_finite_mean_and_error():
    value, error = log_mean_exp(torch.tensor([[1000.0], [1000.0 + math.log(3)]]))
    assert math.isclose(float(value), 1000 + math.log(2), rel_tol=1e-6)
    assert math.isclose(float(error), 0.5, rel_tol=1e-4)
