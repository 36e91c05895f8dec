"""Positive data."""

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import positive
from ppvae.likelihoods.likelihood import Likelihood
from ppvae.likelihoods.units import Units


class LogNormal(Likelihood):
    """Independent positive features: log x_i ~ N(loc_i(z), scale_i(z)^2).

    Shapes: the network maps `(*, latent)` to `loc` and the raw scale side by side,
    `scale = log(1 + exp(raw))`, along the first dimension of the datapoint.

    Args:
        network: module from latent to `loc` and raw scale.
        event_dim: number of dimensions of one datapoint.
        units: shift and scale of log x_i; the network's outputs are those of the standardized
            logarithm.

    Example:
        >>> import torch
        >>> sizes = LogNormal(torch.nn.Linear(2, 6))(torch.zeros(2))
        >>> bool((sizes.sample() > 0).all())
        True
    """

    def __init__(self, network: nn.Module, event_dim: int = 1, units: Units | None = None) -> None:
        super().__init__(network, event_dim)
        self.units = units

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
        scale = positive(raw_scale)
        if self.units is not None:
            loc, scale = self.units(loc, scale)
        return dist.LogNormal(loc, scale).to_event(self.event_dim)
