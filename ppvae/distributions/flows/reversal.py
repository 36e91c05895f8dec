"""A transform that reverses the order of the features."""

import torch
from pyro.distributions.torch_transform import TransformModule
from torch import Tensor
from torch.distributions import constraints


class Reversal(TransformModule):  # type: ignore[misc]
    """The reversal y_i = x_{n+1-i} with log |det| = 0, to put between two transforms.

    Args:
        features: number of features.
        context: number of features of the context; ignored.

    Example:
        >>> Reversal(3)(torch.arange(3.0))
        tensor([2., 1., 0.])
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, features: int, context: int = 0) -> None:
        super().__init__()
        self.features, self.context = features, context

    def _call(self, x: Tensor) -> Tensor:
        return x.flip(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.flip(-1)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return zero for every leading index."""
        return torch.zeros_like(x[..., 0])
