"""Log densities with factors and without, and their averages over draws."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae.engine import (
    closed_form_kl,
    log_mean_exp,
    log_prob,
    marginal,
    mean_error,
    run_pair,
    scaled_kl,
    scaled_log_prob,
)


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


class Weighted:
    """Three of six datapoints, the latent's density weighted by one half, one row masked."""

    def model(self, x):
        with pyro.plate("data", 6, subsample_size=3):
            with pyro.poutine.scale(scale=0.5):
                z = pyro.sample("z", dist.Normal(torch.zeros(3), 1.0))
            with pyro.poutine.mask(mask=torch.tensor([True, True, False])):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", 6, subsample_size=3), pyro.poutine.scale(scale=0.5):
            pyro.sample("z", dist.Normal(x, 0.5))


def test_factors_count_in_training_and_not_by_datapoint():
    x = torch.tensor([0.5, -1.0, 2.0])
    guide, model = run_pair(Weighted(), (x,))
    z = guide["z"]["value"]
    prior, likelihood = dist.Normal(0.0, 1.0).log_prob(z), dist.Normal(z, 1.0).log_prob(x)
    seen = torch.tensor([1.0, 1.0, 0.0])
    assert torch.allclose(log_prob(model["z"]), prior)
    assert torch.allclose(log_prob(model["x"]), likelihood * seen)
    total = (prior * 0.5 + likelihood * seen).sum() * 2
    assert scaled_log_prob(model.values()) == pytest.approx(float(total), rel=1e-6)
    kl = (0.25 + x**2 - 1) / 2 - math.log(0.5)
    assert scaled_kl(guide, model, ["z"]) == pytest.approx(float(kl.sum()), rel=1e-6)


def test_without_a_closed_form_there_is_none():
    guide, model = run_pair(Weighted(), (torch.zeros(3),))
    guide["z"]["fn"] = dist.Cauchy(torch.zeros(3), 1.0)
    assert scaled_kl(guide, model, ["z"]) is None
    assert closed_form_kl(guide["z"]["fn"], model["z"]["fn"]) is None


def test_enumerated_sites_are_summed_out():
    values = torch.tensor([[[[0.1, 0.2]]], [[[0.3, 0.4]]]]).log()
    assert torch.allclose(marginal(values).exp(), torch.tensor([[0.4, 0.6]]))
    assert torch.equal(marginal(values[0, 0]), values[0, 0])
