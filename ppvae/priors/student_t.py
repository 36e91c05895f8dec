"""A prior with heavy tails."""

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae import distributions
from ppvae.priors.prior import Prior


class StudentT(Prior):
    """The factorized Student prior p(z) = prod_i StudentT(z_i; df), of location 0 and scale 1.

    Args:
        features: number of latent dimensions.
        df: degrees of freedom; fewer give heavier tails.

    Raises:
        ValueError: if `features` or `df` is not positive.

    Example:
        >>> StudentT(2, df=3.0)().event_shape
        torch.Size([2])
    """

    zero: Tensor

    def __init__(self, features: int, df: float = 5.0) -> None:
        super().__init__()
        if features < 1 or not df > 0:
            raise ValueError(f"StudentT needs features >= 1 and df > 0, got {features} and {df}")
        self.features, self.df = features, df
        self.register_buffer("zero", torch.zeros(features), persistent=False)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(features,)`."""
        ones = torch.ones_like(self.zero)
        return distributions.StudentT(self.df * ones, self.zero, ones).to_event(1)
