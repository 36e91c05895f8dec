"""Iterates and gradients whose convergence, signal and noise are known."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

import ppvae
from ppvae import diagnostics
from ppvae.engine.iterates import effective_sample_size, monte_carlo_error, split_rhat
from ppvae.engine.parameters import announce
from tests.linear_gaussian import LinearGaussian
from tests.strangers import Ignored


def test_a_tensor_is_judged_by_its_worst_number():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, 60, 3, 4, generator=generator, dtype=torch.float64)
    noise[..., 1, 2] += torch.linspace(0, 5, 60)
    result = diagnostics.convergence({"a": noise, "still": torch.ones(1, 60, 2)})
    assert float(result.rhat[0]) == float(split_rhat(noise).max())
    assert float(result.effective_sample_size[0]) == float(effective_sample_size(noise).min())
    assert float(result.monte_carlo_error[0]) == float(monte_carlo_error(noise).max())
    assert math.isnan(float(result.rhat[1]))


def test_no_iterates_are_refused():
    with pytest.raises(ValueError, match="iterates is empty"):
        diagnostics.convergence({})


class Location(nn.Module):
    """z ~ N(m, s^2) against N(0, 1), x observed apart: the gradient is known at each draw.

    -ELBO as Trace_ELBO estimates it is sum_n z_n^2 / 2 + constants, z = m + s e: its derivative
    by m is sum_n (m + s e_n), of mean n m and variance n s^2.
    """

    def __init__(self, loc):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(loc, dtype=torch.float64))
        self.unused = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def model(self, x):
        announce(self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(x.new_zeros(()), 1.0), obs=x)

    def guide(self, x):
        announce(self)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 0.5))


# Of 1000 draws the mean has a relative error of noise / (signal sqrt(1000)), the noise one of
# 1 / sqrt(2000): five of each.
@pytest.mark.slow
@pytest.mark.parametrize("loc", [0.0, 0.3, 2.0])
def test_signal_and_noise_are_those_of_the_closed_form(loc):
    rows, draws = 10, 1000
    x = torch.zeros(rows, dtype=torch.float64)
    result = diagnostics.gradient_signal(Location(loc), x, draws=draws).sel(parameter="loc")
    signal, noise = rows * loc, math.sqrt(rows) * 0.5
    assert float(result.noise) == pytest.approx(noise, rel=5 / math.sqrt(2 * draws))
    # Near 0 the unbiased square has the error noise^2 sqrt(2) / draws.
    near = noise * math.sqrt(5 * math.sqrt(2) / draws)
    assert abs(float(result.signal) - signal) < 5 * noise / math.sqrt(draws) + near * (loc == 0)
    assert float(result.signal_to_noise) == pytest.approx(float(result.signal / result.noise))


def test_a_parameter_without_gradient_has_no_ratio():
    x = torch.zeros(3, dtype=torch.float64)
    result = diagnostics.gradient_signal(Location(1.0), x, draws=5).sel(parameter="unused")
    assert (float(result.signal), float(result.noise)) == (0, 0)
    assert np.isnan(result.signal_to_noise)


@pytest.mark.slow
def test_the_noise_of_a_mean_is_that_of_fewer_datapoints():
    case = LinearGaussian.random(1)
    pair, x = case.pair(), case.draw(40, seed=2)
    few = diagnostics.gradient_signal(pair, x, draws=300)
    many = diagnostics.gradient_signal(pair, x.repeat(4, 1), draws=300)
    assert np.allclose(many.signal / few.signal, 4, rtol=0.3)
    assert np.allclose(many.noise / few.noise, 2, rtol=0.3)


class SVGD:
    """An objective that is no loss to differentiate."""


def test_what_gives_no_gradient_is_refused():
    case = LinearGaussian.random(1)
    pair, x = case.pair(), case.draw(4, seed=2)
    with pytest.raises(ValueError, match="draws must be at least 2.*got 1"):
        diagnostics.gradient_signal(pair, x, draws=1)
    with pytest.raises(ValueError, match="objective SVGD has no differentiable_loss"):
        diagnostics.gradient_signal(pair, x, objective=SVGD())


def test_a_pair_without_parameters_has_no_gradient():
    with pytest.raises(ppvae.Unsupported, match="announces no parameters"):
        diagnostics.gradient_signal(Ignored(), torch.zeros(3).double(), draws=2)
