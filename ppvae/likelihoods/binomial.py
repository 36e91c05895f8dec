"""Integer gray levels."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from ppvae.likelihoods.likelihood import Likelihood

_MANY = 255  # levels up to which single precision is exact enough, and faster


class _Binomial(dist.Binomial):  # type: ignore[misc]
    """torch's, in double precision: its terms cancel where there are many levels."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        x, n, logits = value.double(), self.total_count.double(), self.logits.double()
        log_choices = torch.lgamma(n + 1) - torch.lgamma(x + 1) - torch.lgamma(n - x + 1)
        exact: Tensor = log_choices + x * logsigmoid(logits) + (n - x) * logsigmoid(-logits)
        return exact.to(self.logits.dtype)


class Binomial(Likelihood):
    """Independent integer levels 0..n: p(x_i | z) = Binomial(x_i; n, sigmoid(network(z)_i)).

    Exact for images with few gray levels, such as the 17 of scikit-learn's digits.

    Shapes: the network maps `(*, latent)` to logits `(*, features)`.

    Args:
        network: module from latent to logits.
        total_count: the highest level n.
        event_dim: number of dimensions of one datapoint.

    Raises:
        ValueError: if `total_count` is not positive.

    Example:
        >>> import torch
        >>> levels = Binomial(torch.nn.Linear(2, 3), total_count=16)(torch.zeros(2))
        >>> bool((levels.sample() <= 16).all())
        True
    """

    def __init__(self, network: nn.Module, total_count: int, event_dim: int = 1) -> None:
        super().__init__(network, event_dim)
        if total_count < 1:
            raise ValueError(f"Binomial needs total_count >= 1, got {total_count}")
        self.total_count = total_count

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 to `total_count`."""
        return constraints.integer_interval(0, self.total_count)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        family = dist.Binomial if self.total_count <= _MANY else _Binomial
        logits = self.network(*conditions)
        return family(self.total_count, logits=logits).to_event(self.event_dim)
