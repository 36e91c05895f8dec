"""Counts whose variance exceeds their mean."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from ppvae.likelihoods.likelihood import Likelihood


class NegativeBinomial(Likelihood):
    """Independent counts of mean m and variance m + m^2 / r, both given by the network.

    p(x_i | z) = Gamma(x_i + r) / (Gamma(r) x_i!) (r / (r + m))^r (m / (r + m))^x_i, with
    log m and raw r from the network, r = log(1 + exp(raw)); as r grows, Poisson.

    Shapes: the network maps `(*, latent)` to `log m` and the raw `r` side by side, along the
    first dimension of the datapoint.

    Args:
        network: module from latent to log mean and raw r.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> import torch
        >>> counts = NegativeBinomial(torch.nn.Identity())(torch.tensor([1.0, 0.0]))
        >>> round(counts.mean.log().item(), 4)
        1.0
    """

    @property
    def outputs_per_feature(self) -> int:
        """Log mean and raw r."""
        return 2

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 on."""
        return constraints.nonnegative_integer

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        log_mean, raw = self.outputs(*conditions)
        r = softplus(raw)
        return dist.NegativeBinomial(r, logits=log_mean - r.log()).to_event(self.event_dim)
