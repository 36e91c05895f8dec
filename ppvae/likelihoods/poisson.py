"""Counts whose variance is their mean."""

import pyro.distributions as dist
from torch import Tensor

from ppvae import distributions
from ppvae.likelihoods.counts import Counts


class Poisson(Counts):
    """Independent counts: p(x_i | z) = Poisson(x_i; s exp(network(z)_i)).

    The size s is 1 unless it is observed.

    Shapes: the network maps `(*, latent)` to the logarithm of the rates, `(*, features)`.

    Args:
        network: module from latent to log rate.
        event_dim: number of dimensions of one datapoint.
        size: the factor of the means; `ObservedSize()` takes it from the batch.

    Example:
        >>> import torch
        >>> counts = Poisson(torch.nn.Identity())(torch.zeros(1))
        >>> counts.log_prob(torch.ones(1)).item()  # rate 1
        -1.0
    """

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        conditions, log_size = self.size(conditions, self.event_dim)
        log_rate = self.held_log_mean(self.network(*conditions) + log_size)
        return distributions.Poisson(log_rate).to_event(self.event_dim)
