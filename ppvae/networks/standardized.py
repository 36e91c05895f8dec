"""A network whose input is standardized."""

import torch
from torch import Tensor, nn


class Standardized(nn.Module):
    """Applies a network to (x - loc) / scale, of counts to (log(1 + x) - loc) / scale.

    Networks are initialized for inputs of unit scale. Shift and scale are fixed and kept with the
    network, so that it takes data in their own units.

    Shapes: `(*, features)` to the network's output for it.

    Args:
        network: module of one tensor.
        features: number of features; a shift of 0 and a scale of 1 until others are loaded.

    Example:
        >>> layer = Standardized.of(nn.Identity(), torch.tensor([1.0]), torch.tensor([1.0]))
        >>> layer(torch.tensor([3.0]))
        tensor([2.])
    """

    loc: Tensor
    scale: Tensor
    counted: Tensor

    def __init__(self, network: nn.Module, features: int) -> None:
        super().__init__()
        self.network, self.features = network, features
        self.register_buffer("loc", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("counted", torch.zeros(features, dtype=torch.bool))

    @classmethod
    def of(
        cls, network: nn.Module, loc: Tensor, scale: Tensor, counted: Tensor | None = None
    ) -> "Standardized":
        """Return a network with this shift and scale.

        Args:
            network: module of one tensor.
            loc: what is subtracted, `(features,)`.
            scale: what is divided by, `(features,)`.
            counted: which features are counts, `(features,)`; none by default.
        """
        layer = cls(network, len(loc))
        layer.loc.copy_(loc)
        layer.scale.copy_(scale)
        if counted is not None:
            layer.counted.copy_(counted)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map the standardized x."""
        x = torch.where(self.counted, torch.log1p(x.clamp(min=0)), x)
        output: Tensor = self.network((x - self.loc) / self.scale)
        return output
