"""The standard normal prior."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.priors.prior import Prior


class StandardNormal(Prior):
    """The standard normal prior p(z) = N(z; 0, I).

    Args:
        features: number of latent dimensions.

    Raises:
        ValueError: if `features` is not positive.

    Example:
        >>> prior = StandardNormal(2)()
        >>> round(prior.log_prob(torch.zeros(2)).item(), 4)  # -log(2 pi)
        -1.8379
    """

    zero: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"StandardNormal needs features >= 1, got {features}")
        self.features = features
        # A buffer, so that the prior follows the pair's dtype and device.
        self.register_buffer("zero", torch.zeros(features), persistent=False)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return N(0, I) over `(features,)`."""
        return dist.Normal(self.zero, torch.ones_like(self.zero)).to_event(1)
