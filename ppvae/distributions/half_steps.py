"""Ratios of gamma functions and draws of beta variables, in whole and half steps.

With n = k / 2 for an integer k, Gamma(a + n) / Gamma(a) is a product of n factors (and, for odd k,
one ratio over half a step), and a Beta(a, n) variable is a product of as many powers of uniform
variables. So there is no cancellation at large a, and draws are smooth functions of a and of a
fixed number of uniform variables: no rejection, exact derivatives.
"""

import math

import torch
from torch import Tensor

# Coefficients of log Gamma(t + 1/2) - log Gamma(t) - log(t) / 2 in t^-1, t^-3, t^-5 and t^-7, with
# which it is exact to 1e-12 from t = 10 on.
_SERIES = (-1 / 8, 1 / 192, -1 / 640, 17 / 14336)
_SHIFT = 10


def _rungs(a: Tensor, count: int) -> Tensor:
    """Return a, a + 1, ... in a new last dimension of size `count`."""
    return a.unsqueeze(-1) + torch.arange(count, dtype=a.dtype, device=a.device)


def log_gamma_ratio(a: Tensor, halves: int) -> Tensor:
    """Return log Gamma(a + halves / 2) - log Gamma(a), of the shape of `a`, positive.

    Example:
        >>> log_gamma_ratio(torch.tensor([1e6]), 2)  # log a
        tensor([13.8155])
    """
    whole, half = divmod(halves, 2)
    ratio = _rungs(a, whole).log().sum(-1)
    if half:
        top = a + whole
        t = top + _SHIFT
        series = sum(c * t ** -(2 * order + 1) for order, c in enumerate(_SERIES))
        ratio = ratio + 0.5 * t.log() + series - torch.log1p(0.5 / _rungs(top, _SHIFT)).sum(-1)
    return ratio


def digamma_difference(a: Tensor, halves: int) -> Tensor:
    """Return digamma(a + halves / 2) - digamma(a), of the shape of `a`, positive.

    Example:
        >>> digamma_difference(torch.tensor([1e6]), 2)  # 1 / a
        tensor([1.0000e-06])
    """
    whole, half = divmod(halves, 2)
    difference = _rungs(a, whole).reciprocal().sum(-1)
    if half:
        top = a + whole
        t = top + _SHIFT
        series = sum(
            -(2 * order + 1) * c * t ** -(2 * order + 2) for order, c in enumerate(_SERIES)
        )
        rungs = _rungs(top, _SHIFT)
        difference = difference + 0.5 / t + series + (0.5 / (rungs * (rungs + 0.5))).sum(-1)
    return difference


def log_beta_draws(a: Tensor, halves: int) -> Tensor:
    """Draw the logarithms of Beta(a, halves / 2) variables, of the shape of `a`, differentiably.

    If T1 ~ Beta(a, n) and T2 ~ Beta(a + n, m), then T1 T2 ~ Beta(a, n + m). Beta(a, 1) is
    U^(1 / a), and Beta(a, 1/2) is 1 / (1 + (U^(-1 / a) - 1) cos(2 pi V)^2), by the polar method
    for Student's t (Bailey, "Polar generation of random variates with the t-distribution", 1994).

    Example:
        >>> log_beta_draws(torch.full((1000,), 3.0), 5).max() < 0
        tensor(True)
    """
    whole, half = divmod(halves, 2)
    log_draw = -(_exponential(_rungs(a, whole)) / _rungs(a, whole)).sum(-1)
    if half:
        top = a + whole
        cosine = torch.cos(2 * math.pi * torch.rand_like(top))
        odds = torch.expm1(_exponential(top) / top) * cosine.square()
        log_draw = log_draw - torch.log1p(odds)
    return log_draw


def _exponential(like: Tensor) -> Tensor:
    """Draw standard exponential variables, positive and finite."""
    uniform = torch.rand_like(like).clamp(min=torch.finfo(like.dtype).eps / 4)
    return -torch.log1p(-uniform)
