"""Counts whose variance is their mean."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood


class Poisson(Likelihood):
    """Independent counts: p(x_i | z) = Poisson(x_i; exp(network(z)_i)).

    Shapes: the network maps `(*, latent)` to the logarithm of the rates, `(*, features)`.

    Args:
        network: module from latent to log rate.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> import torch
        >>> counts = Poisson(torch.nn.Identity())(torch.zeros(1))
        >>> counts.log_prob(torch.ones(1)).item()  # rate 1
        -1.0
    """

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 on."""
        return constraints.nonnegative_integer

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        return dist.Poisson(self.network(*conditions).exp()).to_event(self.event_dim)
