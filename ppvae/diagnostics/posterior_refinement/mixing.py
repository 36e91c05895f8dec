"""How a mixture is made better by weighted draws of it."""

import math

import torch
from torch import Tensor

from ppvae.diagnostics.posterior_refinement.weighted_draws import Weighted
from ppvae.refinement import Components

FREEDOM = 5.0
"""Degrees of freedom of the heavy components that are added."""

_OTHERS, _SHARE, _WIDTH = 6, 0.5, 0.5  # components added where adaptation fails


def adapted_to(mixture: Components, drawn: Weighted) -> Components:
    """Return the mixture fitted to its weighted draws."""
    return mixture.adapted(drawn.vectors, drawn.log_weights)


def with_others(mixture: Components, drawn: Weighted) -> Components:
    """Add components around weighted draws, for posteriors that no single one is like."""
    mixture = adapted_to(mixture, drawn)
    weights = drawn.log_weights.nan_to_num(nan=-math.inf).softmax(0)
    chosen = torch.multinomial(weights.T, _OTHERS, replacement=True)
    places = drawn.vectors.gather(
        0, chosen.T.unsqueeze(-1).expand(-1, -1, drawn.vectors.shape[-1])
    )
    width = _WIDTH * whole_factor(drawn)
    return mixture.with_others(places, width, _SHARE, FREEDOM)


def whole_factor(drawn: Weighted) -> Tensor:
    """Return L of the covariance L L^T of weighted draws, `(data, value, value)`."""
    weights = drawn.log_weights.double().nan_to_num(nan=-math.inf).softmax(0)
    vectors = drawn.vectors.double()
    # Half of the weights' own, so that few draws that carry all weight do not make it singular.
    weights = (weights + weights.sqrt() / weights.sqrt().sum(0)) / 2
    centered = vectors - (weights.unsqueeze(-1) * vectors).sum(0)
    square = torch.einsum("sn,snd,sne->nde", weights, centered, centered)
    variances = square.diagonal(dim1=-2, dim2=-1)
    square = 0.95 * square + 0.05 * torch.diag_embed(variances.clamp(min=1e-12))
    factor: Tensor = torch.linalg.cholesky(square).to(drawn.vectors)
    return factor
