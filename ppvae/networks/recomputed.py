"""A network whose inner values are computed again for the gradient."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Recomputed(nn.Module):
    """Keeps no inner value of a network for the gradient, but computes them again there.

    Training then needs memory for the input and the output of the network alone, and the time of
    one more forward pass (Chen, Xu, Zhang and Guestrin, "Training Deep Nets with Sublinear Memory
    Cost", 2016). In a deep network, wrap each block. Compiled code decides itself what it keeps.

    Shapes: those of the network.

    Args:
        network: module of one or more tensors.

    Example:
        >>> blocks = [Recomputed(nn.Sequential(nn.Linear(3, 3), nn.Tanh())) for _ in range(50)]
        >>> nn.Sequential(*blocks)(torch.ones(5, 3)).shape
        torch.Size([5, 3])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *tensors: Tensor) -> Tensor:
        """Map tensors as the network does."""
        if not torch.is_grad_enabled():
            output: Tensor = self.network(*tensors)
            return output
        again: Tensor = checkpoint(self.network, *tensors, use_reentrant=False)
        return again
