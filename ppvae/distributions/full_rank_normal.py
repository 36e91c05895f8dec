"""Normals with a full covariance matrix, from the outputs of a network."""

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.distributions.ranges import positive, steady


def full_rank_normal(output: Tensor) -> dist.MultivariateNormal:
    """Return N(loc, L L^T) with loc, the raw diagonal of L and what is below it, side by side.

    The diagonal is the softplus of the raw one; the entries below it stand row by row.

    Shapes: `(*, latent * (latent + 3) / 2)`.

    Raises:
        ValueError: if the last dimension does not have that size for any `latent`.

    Example:
        >>> full_rank_normal(torch.zeros(8, 9)).event_shape
        torch.Size([3])
    """
    size = output.shape[-1]
    output = steady(output)
    latent = (math.isqrt(9 + 8 * size) - 3) // 2
    if size != outputs_of_full_rank(latent):
        raise ValueError(
            "a full-rank normal needs a network of latent * (latent + 3) / 2 outputs, got output "
            f"of shape {tuple(output.shape)}"
        )
    loc, raw, below = output.split([latent, latent, size - 2 * latent], -1)
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


def outputs_of_full_rank(latent: int) -> int:
    """Return how many outputs a network of such a normal has, latent (latent + 3) / 2."""
    return latent * (latent + 3) // 2
