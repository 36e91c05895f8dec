"""A network whose products are computed in bfloat16."""

import torch
from torch import Tensor, nn


class Autocast(nn.Module):
    """Computes the products of a network in bfloat16; what it returns has its input's precision.

    Weights, their gradients and all densities keep 32 bits: a log density, a sum of many terms,
    needs more than the 8 bits of bfloat16. It saves time and memory where the hardware multiplies
    in bfloat16. Input of 64 bits is left as it is.

    Shapes: those of the network.

    Args:
        network: module of one or more tensors.

    Example:
        >>> output = Autocast(nn.Linear(3, 2))(torch.ones(5, 3))
        >>> output.shape, output.dtype
        (torch.Size([5, 2]), torch.float32)
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """Map tensors as the network does."""
        lower = x.dtype == torch.float32
        with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=lower):
            output: Tensor = self.network(x, *others)
        return output.to(x.dtype)
