"""A network with scaled input."""

from torch import Tensor, nn


class Scaled(nn.Module):
    """Applies a network to x / scale, such as gray levels up to 255 divided by 255.

    Networks are initialized for inputs of unit scale; with much larger ones training is slow or
    fails.

    Shapes: those of the network.

    Args:
        network: module of one tensor.
        scale: the divisor of its input.

    Raises:
        ValueError: if `scale` is not positive.

    Example:
        >>> import torch
        >>> Scaled(nn.Identity(), 255)(torch.tensor([51.0, 255.0]))
        tensor([0.2000, 1.0000])
    """

    def __init__(self, network: nn.Module, scale: float) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"Scaled needs scale > 0, got {scale}")
        self.network, self.scale = network, scale

    def forward(self, x: Tensor) -> Tensor:
        """Map x / scale."""
        output: Tensor = self.network(x / self.scale)
        return output
