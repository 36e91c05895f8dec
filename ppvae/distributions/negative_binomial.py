"""Counts of a given mean that vary more than Poisson's."""

from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid

from ppvae.distributions.expandable import Expandable
from ppvae.distributions.poisson import draw_counts

_ONE = torch.Size()
_LARGE = 1e4  # from here on the series below is exact to double precision


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
        x, log_mean, r = value.double(), self.log_mean.double(), self.total_count.double()
        # Not softplus, which torch cuts off above 20.
        log_ratio = -logsigmoid(r.log() - log_mean)  # log(1 + m / r)
        exact = _log_rising_ratio(x, r) + x * log_mean - (x + r) * log_ratio - torch.lgamma(x + 1)
        return exact.to(self.log_mean.dtype)


def _log_rising_ratio(x: Tensor, r: Tensor) -> Tensor:
    """Return D(x, r) = log Gamma(x + r) - log Gamma(r) - x log r; it tends to 0 as r grows."""
    large = r > _LARGE
    # The unused branch of each gets a number at which its derivative is finite.
    small_r, large_r = torch.where(large, _LARGE, r), torch.where(large, r, _LARGE)
    direct = torch.lgamma(x + small_r) - torch.lgamma(small_r) - x * small_r.log()
    series = (x + large_r - 0.5) * torch.log1p(x / large_r) - x
    return torch.where(large, series + _stirling(x + large_r) - _stirling(large_r), direct)


def _stirling(t: Tensor) -> Tensor:
    """Return log Gamma(t) - (t - 1/2) log t + t - log(2 pi) / 2 for large t."""
    return (1 / 12 - 1 / (360 * t.square())) / t
