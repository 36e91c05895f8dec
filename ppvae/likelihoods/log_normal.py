"""Positive data."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.distributions import positive
from ppvae.likelihoods.likelihood import Likelihood


class LogNormal(Likelihood):
    """Independent positive features: log x_i ~ N(loc_i(z), scale_i(z)^2).

    Shapes: the network maps `(*, latent)` to `loc` and the raw scale side by side,
    `scale = log(1 + exp(raw))`, along the first dimension of the datapoint.

    Args:
        network: module from latent to `loc` and raw scale.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> import torch
        >>> sizes = LogNormal(torch.nn.Linear(2, 6))(torch.zeros(2))
        >>> bool((sizes.sample() > 0).all())
        True
    """

    @property
    def outputs_per_feature(self) -> int:
        """Loc and raw scale."""
        return 2

    @property
    def support(self) -> constraints.Constraint:
        """The positive numbers."""
        return constraints.positive

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        loc, raw_scale = self.outputs(*conditions)
        return dist.LogNormal(loc, positive(raw_scale)).to_event(self.event_dim)
