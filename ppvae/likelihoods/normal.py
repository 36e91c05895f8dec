"""Real data."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import exponential, positive
from ppvae.likelihoods.likelihood import Likelihood
from ppvae.likelihoods.units import Units


class LearnedScale(nn.Module):
    """A learned positive scale: one for all features, or one per feature.

    Args:
        features: 1 for a single shared scale, or the number of data features.
        initial: the scale training starts from.

    Raises:
        ValueError: if `features` or `initial` is not positive.

    Example:
        >>> LearnedScale(initial=0.5)().detach()
        tensor([0.5000])
    """

    def __init__(self, features: int = 1, initial: float = 1.0) -> None:
        super().__init__()
        if features < 1 or not initial > 0:
            raise ValueError(
                f"LearnedScale needs features >= 1 and initial > 0, got {features} and {initial}"
            )
        self.features = features
        self.initial = initial
        self.log_scale = nn.Parameter(torch.full((features,), math.log(initial)))

    def forward(self) -> Tensor:
        """Return the scale, of shape `(features,)`."""
        return exponential(self.log_scale)


class Normal(Likelihood):
    """Independent real features: p(x_i | z) = N(x_i; loc_i(z), scale_i^2).

    Shapes: the network maps `(*, latent)` to `loc` of shape `(*, features)`; without `scale`, to
    `loc` and the raw scale side by side, `scale = log(1 + exp(raw))`, along the first dimension
    of the datapoint.

    Args:
        network: module from latent to `loc`, or to `loc` and raw scale.
        scale: a number for a fixed scale, a `LearnedScale` for a learned one, None for a scale
            from the network.
        event_dim: number of dimensions of one datapoint.
        units: shift and scale of each feature, of which `loc` and `scale` above are multiples.

    Raises:
        ValueError: if a fixed `scale` is not positive, or the network's output cannot be halved.

    Example:
        >>> linear = Normal(nn.Linear(2, 4), scale=LearnedScale())
        >>> linear(torch.zeros(5, 2)).event_shape
        torch.Size([4])
    """

    def __init__(
        self,
        network: nn.Module,
        scale: float | LearnedScale | None = None,
        event_dim: int = 1,
        units: Units | None = None,
    ) -> None:
        super().__init__(network, event_dim)
        self.units = units
        if isinstance(scale, int | float) and not 0 < scale < math.inf:
            raise ValueError(f"Normal needs a positive, finite scale, got {scale}")
        self.scale = scale

    @property
    def outputs_per_feature(self) -> int:
        """Two if the network gives the scale, else one."""
        return 2 if self.scale is None else 1

    @property
    def support(self) -> constraints.Constraint:
        """The real numbers."""
        return constraints.real

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        if self.scale is None:
            loc, raw_scale = self.outputs(*conditions)
            return self._normal(loc, positive(raw_scale))
        (loc,) = self.outputs(*conditions)
        return self._normal(loc, self.scale() if isinstance(self.scale, nn.Module) else self.scale)

    def _normal(self, loc: Tensor, scale: Tensor | float) -> dist.Distribution:
        if self.units is not None:
            loc, scale = self.units(loc, scale)
        return dist.Normal(loc, scale).to_event(self.event_dim)
