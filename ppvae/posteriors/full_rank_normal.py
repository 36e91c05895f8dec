"""A normal posterior with a full covariance matrix."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions import positive, steady
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
        >>> posterior = FullRankNormal(torch.nn.Linear(4, 9))
        >>> posterior(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    def outputs_for(self, latent: int) -> int:
        """Return latent (latent + 3) / 2."""
        return latent * (latent + 3) // 2

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        output = steady(self.network(*conditions))
        latent = (math.isqrt(9 + 8 * output.shape[-1]) - 3) // 2
        if output.shape[-1] != self.outputs_for(latent):
            raise ValueError(
                "FullRankNormal needs a network of latent * (latent + 3) / 2 outputs, got output "
                f"of shape {tuple(output.shape)}"
            )
        loc, raw, below = output.split([latent, latent, output.shape[-1] - 2 * latent], -1)
        rows, columns = torch.tril_indices(latent, latent, -1, device=output.device)
        flat = output.new_zeros(*output.shape[:-1], latent * latent)
        flat = flat.index_copy(-1, rows * latent + columns, below)
        strict = flat.unflatten(-1, (latent, latent))
        # With a smaller diagonal, rounding of the draws would decide on their density.
        eps = torch.finfo(output.dtype).eps
        farthest = loc.abs().amax(-1, keepdim=True)
        least = eps**0.5 * strict.abs().sum(-1) + 4 * eps * farthest
        diagonal = torch.maximum(positive(raw), least)
        return dist.MultivariateNormal(loc, scale_tril=torch.diag_embed(diagonal) + strict)
