"""A normal posterior with a full covariance matrix."""

import pyro.distributions as dist
from torch import Tensor

from ppvae.distributions import full_rank_normal, outputs_of_full_rank
from ppvae.posteriors.posterior import Posterior


class FullRankNormal(Posterior):
    """The normal posterior q(z|x) = N(z; loc(x), L(x) L(x)^T), L lower triangular.

    The network's last dimension holds `loc`, then the raw diagonal of L (the diagonal is its
    softplus), then the entries below the diagonal, row by row. Its KL to a factorized normal has a
    closed form, which `kl_divergence` returns.

    Shapes: the network maps `(*, features)` to `(*, latent * (latent + 3) / 2)`.

    Args:
        network: module from data to `loc` and L.

    Raises:
        ValueError: if the network's output does not have that size for any `latent`.

    Example:
        >>> import torch
        >>> posterior = FullRankNormal(torch.nn.Linear(4, 9))
        >>> posterior(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    def outputs_for(self, latent: int) -> int:
        """Return latent (latent + 3) / 2."""
        return outputs_of_full_rank(latent)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        return full_rank_normal(self.network(*conditions))
