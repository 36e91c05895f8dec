"""Documents: how often each word occurs."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood


class _Multinomial(dist.Multinomial):  # type: ignore[misc]
    """torch's multinomial for any total: `log_prob` takes it from the counts.

    It is computed in double precision, logarithms of the shares included: its terms cancel in
    documents of many words.
    """

    support = constraints.independent(constraints.nonnegative_integer, 1)

    def __init__(self, total_count: int, logits: Tensor) -> None:
        self.given = logits
        super().__init__(total_count, logits=logits)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Multinomial":
        new: _Multinomial = self._get_checked_instance(_Multinomial, _instance)
        new.given = self.given.expand(*batch_shape, -1)
        super().expand(batch_shape, _instance=new)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        x, log_shares = value.double(), self.given.double().log_softmax(-1)
        exact = torch.lgamma(x.sum(-1) + 1) + (x * log_shares - torch.lgamma(x + 1)).sum(-1)
        return exact.to(self.given.dtype)


class Multinomial(Likelihood):
    """Counts of words, given their number n: p(x | z, n) = n! / (prod_i x_i!) prod_i p_i^x_i.

    Here p = softmax(network(z)) and n = sum_i x_i, so that documents may be of any length (Miao,
    Yu and Blunsom, "Neural variational inference for text processing", 2016). The likelihood is
    conditional on n: it sums to one over the documents of a length.

    Shapes: the network maps `(*, latent)` to logits `(*, words)`.

    Args:
        network: module from latent to logits.
        total_count: length of documents drawn from it.

    Raises:
        ValueError: if `total_count` is not positive.

    Example:
        >>> import torch
        >>> words = Multinomial(nn.Linear(2, 9), total_count=50)(torch.zeros(2))
        >>> words.sample().sum().item()
        50.0
    """

    def __init__(self, network: nn.Module, total_count: int = 100) -> None:
        super().__init__(network, event_dim=1)
        if total_count < 1:
            raise ValueError(f"Multinomial needs total_count >= 1, got {total_count}")
        self.total_count = total_count

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 on."""
        return constraints.nonnegative_integer

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        return _Multinomial(self.total_count, self.network(*conditions))
