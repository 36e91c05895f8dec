"""The uniform prior on the unit sphere."""

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae import distributions
from ppvae.priors.prior import Prior


class UniformSphere(Prior):
    """The uniform prior on the unit sphere, p(z) = 1 / area for z in R^features with |z| = 1.

    It has features - 1 dimensions and pulls no latent toward an origin (Davidson, Falorsi, De Cao,
    Kipf and Tomczak, "Hyperspherical variational auto-encoders", 2018). It goes with posteriors on
    the sphere, such as `PowerSpherical`.

    Args:
        features: number of coordinates of a latent.

    Raises:
        ValueError: if `features` is less than two.

    Example:
        >>> prior = UniformSphere(3)()
        >>> round(prior.log_prob(torch.tensor([0.0, 0.6, 0.8])).item(), 4)  # -log(4 pi)
        -2.531
    """

    zero: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 2:
            raise ValueError(f"UniformSphere needs features >= 2, got {features}")
        self.features = features
        self.register_buffer("zero", torch.zeros(features), persistent=False)

    @property
    def support(self) -> constraints.Constraint:
        """The unit sphere."""
        return constraints.sphere

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(features,)`."""
        return distributions.UniformSphere(self.zero)
