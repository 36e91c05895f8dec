"""Pixels in [0, 1] with a normalized density."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood

_SMALL = 0.1


class _ContinuousBernoulli(dist.ContinuousBernoulli):  # type: ignore[misc]
    """torch's continuous Bernoulli, its normalizer written in the logit l.

    The normalizer l / tanh(l / 2) and the mean 1/2 + 1/(2 tanh(l / 2)) - 1/l both tend to finite
    values at l = 0. torch writes them in the probability, which loses half the digits of float32
    near 1/2 and saturates near 0 and 1; here a series is used where |l| is small. Variance and
    samples are computed from the logit too.
    """

    def _cont_bern_log_norm(self) -> Tensor:
        small = self.logits.abs() < _SMALL
        # The double `where` keeps the gradient of the unused branch finite.
        logits = torch.where(small, torch.ones_like(self.logits), self.logits).abs()
        exact = logits.log() - torch.tanh(logits / 2).log()
        square = torch.where(small, self.logits, torch.zeros_like(self.logits)).square()
        # log((l/2) / tanh(l/2)) in powers of l^2; the next term is below 1e-15.
        series = square * (
            1 / 12 - square * (7 / 1440 - square * (31 / 90720 - square * (127 / 4838400)))
        )
        return torch.where(small, math.log(2) + series, exact)

    @property
    def mean(self) -> Tensor:
        small = self.logits.abs() < _SMALL
        logits = torch.where(small, torch.ones_like(self.logits), self.logits)
        exact = 0.5 + 0.5 / torch.tanh(logits / 2) - 1 / logits
        near = torch.where(small, self.logits, torch.zeros_like(self.logits))
        square = near.square()
        series = 0.5 + near * (1 / 12 - square * (1 / 720 - square * (1 / 30240)))
        return torch.where(small, series, exact)

    @property
    def variance(self) -> Tensor:
        small = self.logits.abs() < 1
        logits = torch.where(small, torch.ones_like(self.logits), self.logits)
        exact = 1 / logits.square() - 0.25 / torch.sinh(logits / 2).square()
        square = torch.where(small, self.logits, torch.zeros_like(self.logits)).square()
        series = torch.zeros_like(square)
        for coefficient in (-5.81e-9, 1.879e-7, -1 / 172800, 1 / 6048, -1 / 240, 1 / 12):
            series = coefficient + square * series
        return torch.where(small, series, exact)

    def icdf(self, value: Tensor) -> Tensor:
        # A falling density, exp(-|l| x) on [0, 1], never overflows; a rising one mirrors it.
        rate = self.logits.abs().clamp(min=1e-6)
        rising = self.logits > 0
        below = torch.where(rising, 1 - value, value)
        falling = -torch.log1p(below * torch.expm1(-rate)) / rate
        return torch.where(rising, 1 - falling, falling).clamp(0, 1)


class ContinuousBernoulli(Likelihood):
    """Independent pixels in [0, 1]: p(x_i | z) = C(l_i) s_i^x_i (1 - s_i)^(1 - x_i).

    Here l = network(z), s = sigmoid(l), and C(l) = l / tanh(l / 2) normalizes the density
    (Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", 2019). Numerically stable for every logit, 0 included.

    Shapes: the network maps `(*, latent)` to logits `(*, features)`.

    Args:
        network: module from latent to logits.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> pixels = ContinuousBernoulli(torch.nn.Identity())(torch.zeros(1))
        >>> abs(pixels.log_prob(torch.tensor([0.3])).item()) < 1e-6  # uniform where the logit is 0
        True
    """

    @property
    def support(self) -> constraints.Constraint:
        """The interval [0, 1]."""
        return constraints.unit_interval

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        return _ContinuousBernoulli(logits=self.network(*conditions)).to_event(self.event_dim)
