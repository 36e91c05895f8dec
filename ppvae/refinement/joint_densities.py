"""log p(x, z) of some datapoints with its gradient, by whatever computes it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ppvae.refinement.approximations import Values

LogJoint: TypeAlias = Callable[[Values], Tensor]
"""log p(x, z) at values of the latents, `(draw, data)`."""


class JointDensity(ABC):
    """log p(x, z) at values of the latents, and its gradient."""

    @abstractmethod
    def __call__(self, values: Values, rows: Tensor | None = None) -> Tensor:
        """Return log p(x, z) in nats, `(draw, data)`.

        Args:
            values: of every latent, of all datapoints.
            rows: a mask of the datapoints that are asked for, all unless given; the numbers of the
                others mean nothing.
        """

    @abstractmethod
    def gradient(self, values: Values, rows: Tensor | None = None) -> dict[str, Tensor]:
        """Return its gradient by the values; zero for datapoints that are not asked for."""


@dataclass(frozen=True)
class PlainDensity(JointDensity):
    """A function's, which always computes all datapoints.

    Args:
        log_joint: the function.
    """

    log_joint: LogJoint

    def __call__(self, values: Values, rows: Tensor | None = None) -> Tensor:
        """Return log p(x, z) of all datapoints."""
        return self.log_joint(values)

    def gradient(self, values: Values, rows: Tensor | None = None) -> dict[str, Tensor]:
        """Return its gradient by the values."""
        with torch.enable_grad():
            leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
            found = self.log_joint(leaves)
            total = (found if rows is None else found[:, rows]).sum()
            # Of the values alone: the pair's own parameters get no gradient.
            gradients = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, gradients, strict=True))
