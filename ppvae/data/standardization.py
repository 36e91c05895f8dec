"""Shifts and scales each feature."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Standardization:
    """The map x -> (x - loc) / scale, feature by feature.

    Args:
        loc: what is subtracted, `(*event)`.
        scale: what is divided by, `(*event)`.

    Example:
        >>> by = Standardization.of(torch.tensor([[0.0], [2.0]]))
        >>> by(torch.tensor([[3.0]]))
        tensor([[2.]])
    """

    loc: Tensor
    scale: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "Standardization":
        """Return the map that gives `values` mean 0 and standard deviation 1.

        Features that do not vary are only shifted.
        """
        scale, loc = torch.std_mean(values, dim=0, correction=0)
        return cls(loc, torch.where(scale > 0, scale, torch.ones_like(scale)))

    def __call__(self, values: Tensor) -> Tensor:
        """Standardize values of shape `(*, *event)`."""
        return (values - self.loc) / self.scale

    def invert(self, values: Tensor) -> Tensor:
        """Return standardized values of shape `(*, *event)` to their own units."""
        return values * self.scale + self.loc
