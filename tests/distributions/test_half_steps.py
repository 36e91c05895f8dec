"""Gamma functions and beta draws over half steps, against SciPy's."""

import numpy as np
import pytest
import torch
from scipy import special, stats

from ppvae.distributions.half_steps import digamma_difference, log_beta_draws, log_gamma_ratio

HALVES = [1, 2, 3, 4, 9, 50, 199]
FIRST = [0.5, 0.503, 1.0, 3.3, 40.0, 1e3, 1e5, 1e8]
DRAWS = 4000
FALSE_ALARM = 1e-4  # of each goodness-of-fit test
FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons


@pytest.mark.parametrize("halves", HALVES)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_ratio_of_gamma_functions(halves, dtype, rtol):
    a = torch.tensor(FIRST, dtype=dtype)
    known = special.gammaln(halves / 2) - special.betaln(a.double().numpy(), halves / 2)
    ratio = log_gamma_ratio(a, halves)
    assert ratio.dtype == dtype
    np.testing.assert_allclose(ratio.double().numpy(), known, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("halves", HALVES)
def test_difference_of_digammas_is_the_slope(halves):
    a = torch.tensor(FIRST, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(log_gamma_ratio(a, halves).sum(), a)
    difference = digamma_difference(a, halves).detach()
    torch.testing.assert_close(difference, slope, rtol=1e-10, atol=0)
    single = digamma_difference(a.float(), halves).detach().double()
    exact = digamma_difference(a.float().double(), halves).detach()
    torch.testing.assert_close(single, exact, rtol=1e-6, atol=0)
    few = a.detach().numpy()[:6]  # beyond, the difference of two functions has lost its digits
    known = special.digamma(few + halves / 2) - special.digamma(few)
    np.testing.assert_allclose(difference.numpy()[:6], known, rtol=1e-9)


@pytest.mark.parametrize("halves", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("first", [0.5, 1.7, 30.0, 1e4])
def test_draws_are_of_the_beta_distribution(halves, first):
    torch.manual_seed(0)
    drawn = log_beta_draws(torch.full((DRAWS,), first).double(), halves).exp().numpy()
    assert stats.kstest(drawn, stats.beta(first, halves / 2).cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("halves", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("first", [0.5, 1.7, 30.0])
def test_slope_of_draws_is_that_of_their_mean(halves, first):
    torch.manual_seed(0)
    a = torch.full((100_000,), first, dtype=torch.float64, requires_grad=True)
    (slopes,) = torch.autograd.grad(log_beta_draws(a, halves).exp().sum(), a)
    known = halves / 2 / (first + halves / 2) ** 2
    assert abs(slopes.mean() - known) < FALSE_ALARM_ERRORS * slopes.std() / 100_000**0.5
