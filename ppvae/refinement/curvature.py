"""The normal distribution at a mode, from the curvature there."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.refinement.climbing import Climbed

_SHARE = 0.3  # of a width, by which the gradient is compared on both sides
_NARROWEST, _WIDEST = 1e-3, 10.0  # widths of a direction's standard deviation
_FAR = 4.0  # times that a width may differ from the one that is found


@dataclass(frozen=True)
class Curvature:
    """The inverse of -d^2 log p(x, u) / du^2 at one place of each datapoint.

    Args:
        factor: L with L L^T that inverse, lower triangles, `(data, value, value)`.
        widths: standard deviation of each coordinate given the others, `(data, value)`.
        far: where the widths that were assumed are far from these, `(data,)`.
    """

    factor: Tensor
    widths: Tensor
    far: Tensor


def curvature_at(function: Climbed, place: Tensor, widths: Tensor) -> Curvature:
    """Measure the curvature over a share of the width, by gradients on both sides.

    Unlike the second derivative it sees the kinks of a network of ReLUs. Directions in which the
    function does not curve downwards, or hardly, get a bound as standard deviation.

    Args:
        function: log p(x, u), with its gradient.
        place: `(data, value)`.
        widths: rough standard deviations, `(data, value)`.
    """
    size = place.shape[-1]
    steps = torch.diag_embed(_SHARE * widths).movedim(-1, 0)  # (value, data, value)
    _, slopes = function(torch.cat([place + steps, place - steps]))
    change = (slopes[:size] - slopes[size:]) / (2 * _SHARE)  # per width of the moved coordinate
    # In units of the widths, (data, moved, value).
    curvature = -change.movedim(0, 1).double() * widths.double().unsqueeze(-2)
    # Where a gradient is not finite, no curvature is known.
    curvature = ((curvature + curvature.mT) / 2).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    values, vectors = torch.linalg.eigh(curvature)
    deviations = values.clamp(_WIDEST**-2, _NARROWEST**-2).rsqrt()
    square = (vectors * deviations.square().unsqueeze(-2)) @ vectors.mT
    factor = torch.linalg.cholesky((square + square.mT) / 2)
    seen = curvature.diagonal(dim1=-2, dim2=-1).clamp(_WIDEST**-2, _NARROWEST**-2).rsqrt()
    far = ((seen > _FAR) | (seen < 1 / _FAR)).any(-1)
    return Curvature(
        (widths.double().unsqueeze(-1) * factor).to(place), (widths * seen).to(place), far
    )
