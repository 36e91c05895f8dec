"""The units in which real features are measured."""

import torch
from torch import Tensor, nn


class Units(nn.Module):
    """A fixed shift and scale of each feature, kept with the pair.

    A likelihood with units takes its network's outputs for those of the standardized feature
    y = (x - loc) / scale, and returns the distribution of x: log p(x|z) = log p(y|z) - log scale,
    in nats of the data in their own units.

    Shapes: `loc` and `scale` are `(features,)`.

    Args:
        features: number of features; a shift of 0 and a scale of 1 until others are loaded.

    Example:
        >>> from ppvae.likelihoods import Normal
        >>> units = Units.of(torch.tensor([10.0]), torch.tensor([2.0]))
        >>> Normal(nn.Identity(), scale=1.0, units=units)(torch.zeros(1)).mean
        tensor([10.])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features
        self.register_buffer("loc", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    @classmethod
    def of(cls, loc: Tensor, scale: Tensor) -> "Units":
        """Return units of this shift and scale, `(features,)` each."""
        units = cls(len(loc))
        units.loc.copy_(loc)
        units.scale.copy_(scale)
        return units

    def forward(self, loc: Tensor, scale: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return location and scale of x from those of the standardized feature."""
        return self.loc + self.scale * loc, self.scale * scale
