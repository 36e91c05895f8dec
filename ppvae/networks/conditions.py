"""Networks with several inputs, for factors with several conditions."""

import torch
from torch import Tensor, nn


class Joined(nn.Module):
    """Applies a network to several tensors, concatenated along the last dimension.

    The leading dimensions are broadcast against each other: in p(x|z, y) draws are vectorized in
    front of z, but not of y.

    Shapes: `(*, a)`, `(*, b)` and so on, to the network's output for `(*, a + b + ...)`.

    Args:
        network: module of one tensor.

    Raises:
        ValueError: if there is no tensor, one has no dimension, or the leading dimensions cannot
            be broadcast.

    Example:
        >>> decoder = Joined(nn.Linear(2 + 10, 64))
        >>> decoder(torch.zeros(100, 5, 2), torch.zeros(5, 10)).shape
        torch.Size([100, 5, 64])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map the tensors, joined along the last dimension."""
        shapes = [tuple(x.shape) for x in inputs]
        if () in shapes or not shapes:
            raise ValueError(
                f"Joined needs one or more tensors of shape (*, features), got shapes {shapes}"
            )
        try:
            leading = torch.broadcast_shapes(*(shape[:-1] for shape in shapes))
        except RuntimeError as error:
            raise ValueError(
                "Joined needs tensors whose dimensions before the last can be broadcast, got "
                f"shapes {shapes}"
            ) from error
        output: Tensor = self.network(torch.cat([x.expand(*leading, -1) for x in inputs], -1))
        return output


class First(nn.Module):
    """Applies a network to the first of several tensors and ignores the others.

    For a factor that does not depend on all conditions it is given, such as p(x|z) of a pair in
    which only the prior p(z|y) depends on y.

    Shapes: `(*, features)` and any others, to the network's output for `(*, features)`.

    Args:
        network: module of one tensor.

    Raises:
        ValueError: if there is no tensor.

    Example:
        >>> First(nn.Linear(2, 64))(torch.zeros(100, 5, 2), torch.zeros(5, 10)).shape
        torch.Size([100, 5, 64])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map the first tensor."""
        if not inputs:
            raise ValueError("First needs one or more tensors, got none")
        output: Tensor = self.network(inputs[0])
        return output
