"""Counts of a given log rate."""

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae.distributions.expandable import Expandable

_ONE = torch.Size()

LARGEST_COUNT = 2.0**53
"""Beyond it neighboring whole numbers are one number in double precision; no draw has more."""


class Poisson(Expandable):
    """The Poisson distribution P(x) = exp(x log_rate - exp(log_rate)) / x!.

    The log density is computed in double precision: its terms grow as x log x and cancel, which
    in single precision is off by a nat at counts of 1e6. It is finite where the rate underflows.

    Args:
        log_rate: logarithm of the rate, `(*)`.

    Example:
        >>> Poisson(torch.tensor(0.0)).log_prob(torch.tensor(1.0))
        tensor(-1.)
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"log_rate": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, log_rate: Tensor, validate_args: bool | None = None) -> None:
        self.log_rate = log_rate
        super().__init__(log_rate.shape, validate_args=validate_args)

    @property
    def rate(self) -> Tensor:
        """exp(log_rate)."""
        return self.log_rate.exp()

    @property
    def mean(self) -> Tensor:
        """The rate."""
        return self.rate

    @property
    def variance(self) -> Tensor:
        """The rate."""
        return self.rate

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        """Draw `(*sample_shape, *batch_shape)`."""
        with torch.no_grad():
            return draw_counts(self.rate.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x) in nats, for each value."""
        if self._validate_args:
            self._validate_sample(value)
        x, log_rate = value.double(), self.log_rate.double()
        exact = x * log_rate - log_rate.exp() - torch.lgamma(x + 1)
        return exact.to(self.log_rate.dtype)


def draw_counts(rate: Tensor) -> Tensor:
    """Draw Poisson variables of the shape of `rate`; larger rates are `LARGEST_COUNT`.

    Example:
        >>> draw_counts(torch.zeros(3))
        tensor([0., 0., 0.])
    """
    return torch.poisson(rate.clamp(max=LARGEST_COUNT))
