"""A network of smaller numbers."""

from torch import Tensor, nn


class Scaled(nn.Module):
    """A network of x / scale: of levels up to 255, say, as numbers up to 1.

    Networks start out for inputs of unit scale; of larger ones they learn late or not at all.

    Shapes: those of the network.

    Args:
        network: module of one tensor.
        scale: what its input is divided by.

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
