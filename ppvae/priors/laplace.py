"""A prior with a sharp peak and heavy tails."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.priors.prior import Prior


class Laplace(Prior):
    """The factorized Laplace prior p(z) = prod_i exp(-|z_i| / b) / (2 b).

    With b = 1 / sqrt(2), the default, every latent has variance one. Unlike the standard normal,
    it is not invariant under rotation, so the axes of the latent space have a meaning.

    Args:
        features: number of latent dimensions.
        scale: b.

    Raises:
        ValueError: if `features` or `scale` is not positive.

    Example:
        >>> prior = Laplace(2)()
        >>> round(prior.variance[0].item(), 4)
        1.0
    """

    zero: Tensor

    def __init__(self, features: int, scale: float = 0.5**0.5) -> None:
        super().__init__()
        if features < 1 or not scale > 0:
            raise ValueError(
                f"Laplace needs features >= 1 and scale > 0, got {features} and {scale}"
            )
        self.features, self.scale = features, scale
        self.register_buffer("zero", torch.zeros(features), persistent=False)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(features,)`."""
        return dist.Laplace(self.zero, self.scale * torch.ones_like(self.zero)).to_event(1)
