"""Counts of a given mean that vary more than Poisson's."""

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions.utils import broadcast_all

from ppvae.distributions.expandable import Expandable
from ppvae.distributions.negative_binomial_density import negative_binomial_log_prob
from ppvae.distributions.poisson import draw_counts

_ONE = torch.Size()


class NegativeBinomial(Expandable):
    """The negative binomial distribution of mean m and variance m + m^2 / r.

        P(x) = Gamma(x + r) / (Gamma(r) x!) (r / (r + m))^r (m / (r + m))^x

    torch's log density loses all digits as r grows: it subtracts numbers of the size r log r.
    Here it is written as

        log P(x) = D(x, r) + x log m - (x + r) log(1 + m / r) - log x!,
        D(x, r) = log Gamma(x + r) - log Gamma(r) - x log r,

    and D comes from Stirling's series where r is large. So it tends to Poisson's as r grows. It is
    computed in double precision, since the terms of large counts cancel too.

    Args:
        log_mean: log m, `(*)`.
        total_count: r, positive, `(*)`.

    Example:
        >>> nearly_poisson = NegativeBinomial(torch.tensor(0.0), torch.tensor(1e12))
        >>> nearly_poisson.log_prob(torch.tensor(1.0))
        tensor(-1.)
    """

    has_rsample = False
    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "log_mean": constraints.real,
        "total_count": constraints.positive,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, log_mean: Tensor, total_count: Tensor, validate_args: bool | None = None
    ) -> None:
        self.log_mean, self.total_count = broadcast_all(log_mean, total_count)
        super().__init__(self.log_mean.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The mean m."""
        return self.log_mean.exp()

    @property
    def variance(self) -> Tensor:
        """The variance m + m^2 / r."""
        return self.mean * (1 + (self.log_mean - self.total_count.log()).exp())

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        """Draw `(*sample_shape, *batch_shape)`: Poisson variables of gamma distributed rates."""
        with torch.no_grad():
            inverse_scale = (self.total_count.log() - self.log_mean).exp()
            gamma = torch.distributions.Gamma(self.total_count, inverse_scale, validate_args=False)
            return draw_counts(gamma.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log P(x) in nats, for each value."""
        if self._validate_args:
            self._validate_sample(value)
        return negative_binomial_log_prob(value, self.log_mean, self.total_count)
