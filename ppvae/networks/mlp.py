"""Fully connected networks."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ppvae.networks.shapes import check_input


class MLP(nn.Module):
    """A fully connected network: linear layers with an activation between them.

    Shapes: `(*, in_features)` to `(*, out_features)`.

    Args:
        in_features: size of the input's last dimension.
        out_features: size of the output's last dimension.
        hidden: sizes of the hidden layers, from input to output; with none, the map is linear.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if a size is not positive, or the input is of another shape.

    Example:
        >>> import torch
        >>> MLP(64, 20, hidden=[128])(torch.zeros(5, 3, 64)).shape
        torch.Size([5, 3, 20])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        hidden: Sequence[int] = (256, 256),
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.hidden = tuple(hidden)
        self.activation = activation
        sizes = (in_features, *self.hidden, out_features)
        if min(sizes) < 1:
            raise ValueError(f"MLP needs positive layer sizes, got {list(sizes)}")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), activation()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, in_features)` to `(*, out_features)`."""
        check_input(self, x, (self.in_features,))
        output: Tensor = self.layers(x)
        return output
