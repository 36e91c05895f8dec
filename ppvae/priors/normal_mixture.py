"""A learned prior with several clusters."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions import positive
from ppvae.priors.prior import Prior


class NormalMixture(Prior):
    """A learned mixture p(z) = sum_k w_k N(z; loc_k, diag(scale_k)^2).

    Weights, locations and scales are parameters, trained with the pair (Dilokthanakul et al.,
    "Deep unsupervised clustering with Gaussian mixture variational autoencoders", 2016, without
    its classes). Initially the weights are equal, the scales one, and the locations drawn from
    N(0, I).

    Args:
        features: number of latent dimensions.
        components: number of normals.

    Raises:
        ValueError: if `features` or `components` is not positive.

    Example:
        >>> NormalMixture(2, components=10)().sample((5,)).shape
        torch.Size([5, 2])
    """

    def __init__(self, features: int, components: int = 50) -> None:
        super().__init__()
        if features < 1 or components < 1:
            raise ValueError(
                "NormalMixture needs features >= 1 and components >= 1, got "
                f"{features} and {components}"
            )
        self.features, self.components = features, components
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, features))
        self.raw_scale = nn.Parameter(torch.full((components, features), math.log(math.e - 1)))

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(features,)`."""
        normals = dist.Normal(self.loc, positive(self.raw_scale)).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), normals)
