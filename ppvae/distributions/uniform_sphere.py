"""The uniform distribution on the unit sphere."""

import math
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae.distributions.expandable import Expandable

_ONE = torch.Size()


def uniform_directions(shape: torch.Size, like: Tensor) -> Tensor:
    """Draw vectors of length one, uniform in direction, with the dtype and device of `like`.

    Args:
        shape: `(*, features)`.
        like: a tensor.
    """
    normal = torch.randn(shape, dtype=like.dtype, device=like.device)
    length = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
    # In single precision torch draws a zero vector once in 2^24 times; it has no direction.
    normal = torch.where(length > 0, normal, torch.ones_like(normal))
    directions: Tensor = normal / torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
    return directions


class UniformSphere(Expandable):
    """The uniform distribution on the unit sphere around the origin of R^d.

    p(z) = 1 / area with area = 2 pi^(d/2) / Gamma(d/2); the density is with respect to the surface
    of the sphere. Its values are vectors of length one.

    Args:
        origin: zeros `(*, features)`; draws have their dtype and device.

    Raises:
        ValueError: if there are fewer than two features.

    Example:
        >>> circle = UniformSphere(torch.zeros(2))
        >>> round(circle.log_prob(torch.tensor([0.6, 0.8])).item(), 4)  # -log(2 pi)
        -1.8379
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        "origin": constraints.real_vector
    }
    support = constraints.sphere

    def __init__(self, origin: Tensor, validate_args: bool | None = None) -> None:
        if origin.dim() < 1 or origin.shape[-1] < 2:
            raise ValueError(
                "UniformSphere needs origin of shape (*, features) with features >= 2, got "
                f"shape {tuple(origin.shape)}"
            )
        self.origin = origin
        super().__init__(origin.shape[:-1], origin.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The origin, the center of the sphere."""
        return torch.zeros_like(self.origin)

    @property
    def variance(self) -> Tensor:
        """Of every coordinate, 1 / features."""
        return torch.full_like(self.origin, 1 / self.origin.shape[-1])

    def rsample(self, sample_shape: Any = _ONE) -> Tensor:
        """Draw `(*sample_shape, *batch_shape, features)`."""
        return uniform_directions(self._extended_shape(sample_shape), self.origin)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return -log area in nats, for each value."""
        if self._validate_args:
            self._validate_sample(value)
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return -self.entropy().expand(shape)

    def entropy(self) -> Tensor:
        """Return log area in nats."""
        half = self.origin.shape[-1] / 2
        log_area = math.log(2) + half * math.log(math.pi) - math.lgamma(half)
        return self.origin.new_full(self.batch_shape, log_area)
