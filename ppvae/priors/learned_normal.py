"""A normal of learned mean and scales."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions import positive
from ppvae.priors.prior import Prior


class LearnedNormal(Prior):
    """The normal N(z; loc, diag(scale)^2) of learned loc and scale, that of no datapoint alone.

    As the guide of a latent that all datapoints share it is the mean-field posterior.

    Args:
        features: number of latent dimensions.
        scale: the scale that training starts from; loc starts at draws of N(0, scale^2).

    Raises:
        ValueError: if `features` or `scale` is not positive.

    Example:
        >>> LearnedNormal(3, scale=0.1)().stddev.detach()
        tensor([0.1000, 0.1000, 0.1000])
    """

    def __init__(self, features: int, scale: float = 1.0) -> None:
        super().__init__()
        if features < 1 or not scale > 0:
            raise ValueError(
                f"LearnedNormal needs features >= 1 and scale > 0, got {features} and {scale}"
            )
        self.features, self.scale = features, scale
        self.loc = nn.Parameter(scale * torch.randn(features))
        self.raw_scale = nn.Parameter(torch.full((features,), math.log(math.expm1(scale))))

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return the normal over `(features,)`."""
        return dist.Normal(self.loc, positive(self.raw_scale)).to_event(1)
