"""A normal prior with a full covariance matrix that depends on conditions."""

import math
from typing import Self

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions import full_rank_normal, outputs_of_full_rank
from ppvae.priors.prior import Prior


class ConditionalFullRankNormal(Prior):
    """The prior p(z | y) = N(z; loc(y), L(y) L(y)^T), L lower triangular, of conditions y.

    With one normal for each class, prior draws z of a class come from where the encoder puts the
    data of that class: from a prior that all classes share, many draws would lie where the
    decoder has seen data of other classes only.

    Shapes: the network maps `(*, features)` to `(*, latent * (latent + 3) / 2)`: `loc`, the raw
    diagonal of L, of which the softplus is taken, and the entries below it, row by row.

    Args:
        network: module from conditions to `loc` and L; it is called with all conditions.

    Raises:
        TypeError: if `network` is not a module.
        ValueError: if there are no conditions, or the network's output is of another size.

    Example:
        >>> prior = ConditionalFullRankNormal(ConditionalFullRankNormal.layer(10, latent=3))
        >>> prior(torch.eye(10)).event_shape
        torch.Size([3])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(
                "ConditionalFullRankNormal needs network to be a module from conditions to loc "
                f"and L, got {network!r:.60}"
            )
        self.network = network

    @staticmethod
    def layer(conditions: int, latent: int) -> nn.Linear:
        """Return a network for one condition with which the prior starts as the standard normal.

        It is linear: of one-hot classes, each class has a normal of its own.

        Args:
            conditions: number of features of the condition.
            latent: number of latent dimensions.
        """
        layer = nn.Linear(conditions, outputs_of_full_rank(latent))
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        nn.init.constant_(layer.bias[latent : 2 * latent], math.log(math.e - 1))  # softplus is 1
        return layer

    @classmethod
    def of_classes(cls, loc: Tensor, scale_tril: Tensor) -> Self:
        """Return the prior with a given normal for each one-hot class.

        Args:
            loc: their means, `(classes, latent)`.
            scale_tril: L, its diagonal positive, `(classes, latent, latent)` or one for all.

        Example:
            >>> prior = ConditionalFullRankNormal.of_classes(torch.randn(3, 2), 0.5 * torch.eye(2))
            >>> prior(torch.eye(3)).variance[0]
            tensor([0.2500, 0.2500], grad_fn=<SelectBackward0>)
        """
        classes, latent = loc.shape
        scale_tril = scale_tril.expand(classes, latent, latent)
        rows, columns = torch.tril_indices(latent, latent, -1)
        diagonal = scale_tril.diagonal(dim1=-2, dim2=-1)
        raw = diagonal + torch.log(-torch.expm1(-diagonal))  # undoes the softplus
        outputs = torch.cat([loc, raw, scale_tril[:, rows, columns]], -1)
        layer = nn.Linear(classes, outputs.shape[1], bias=False)
        layer.weight = nn.Parameter(outputs.T.contiguous())
        return cls(layer)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z | y) over `(latent,)` for every leading index of `conditions`."""
        if not conditions:
            raise ValueError(
                "ConditionalFullRankNormal needs at least one condition, got none; pass the pair "
                "batches (x, *conditions)"
            )
        return full_rank_normal(self.network(*conditions))
