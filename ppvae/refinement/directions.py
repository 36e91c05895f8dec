"""Points on the unit sphere as directions of vectors, whose lengths are drawn too."""

import math

import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.distributions import Transform

_SPREAD = 0.1  # standard deviation of the logarithm of a length


class Direction(Transform):
    """The direction z = u / |u| of a vector whose length has a distribution of its own.

        log |u| ~ N(0, 0.1^2),    f(u) = p(u / |u|) N(log |u|; 0, 0.1^2) / |u|^d

    A density p on the sphere of R^d becomes a density f of R^d, of the same integral, whose draws
    have the directions that p has. So what needs a density on a space without constraints serves
    the sphere too. `inv` draws a length, and the log |det| is that of f / p.

    Example:
        >>> Direction()(torch.tensor([3.0, 4.0]))
        tensor([0.6000, 0.8000])
    """

    domain = constraints.real_vector
    codomain = constraints.sphere
    bijective = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Direction)

    __hash__ = Transform.__hash__

    def _call(self, x: Tensor) -> Tensor:
        direction: Tensor = x / x.norm(dim=-1, keepdim=True)
        return direction

    def _inverse(self, y: Tensor) -> Tensor:
        return y * (_SPREAD * torch.randn_like(y[..., :1])).exp()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log f(x) - log p(y)."""
        log_length = x.norm(dim=-1).log()
        constant = math.log(_SPREAD * math.sqrt(2 * math.pi))
        density: Tensor = (
            -((log_length / _SPREAD).square() / 2) - constant - x.shape[-1] * log_length
        )
        return density
