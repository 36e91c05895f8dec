"""Residual convolutional networks: images to vectors and back."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ppvae.networks.halving import double, halve, image_shape
from ppvae.networks.residual_block import ResidualBlock, normalized
from ppvae.networks.shapes import check_input, check_sizes, fold


class ResidualConvEncoder(nn.Module):
    """A residual convolutional network from images to vectors.

    For each hidden size a convolution of stride 2, which halves height and width, and `depth`
    residual blocks; then a linear layer (He, Zhang, Ren and Sun,
    "Identity mappings in deep residual networks", 2016, with the normalization of Wu and He,
    "Group normalization", 2018, so that no datapoint depends on others).

    For flat data put `nn.Unflatten(-1, shape)` in front of it, in an `nn.Sequential`.

    Shapes: `(*, channels, height, width)` to `(*, out_features)`.

    Args:
        shape: `(channels, height, width)` of one image, height and width multiples of
            2^len(hidden): with two hidden sizes 28x28, 32x32 and 64x64.
        out_features: size of the output's last dimension.
        hidden: channels of the hidden layers, from input to output.
        depth: number of residual blocks for each hidden size.
        groups: number of groups of channels, normalized separately; divides every hidden size.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if a size is not positive, `depth` is negative, height or width cannot be
            halved once for each hidden size, `groups` does not divide every hidden size, or the
            input has another shape.

    Example:
        >>> import torch
        >>> ResidualConvEncoder((3, 32, 32), 20)(torch.zeros(5, 2, 3, 32, 32)).shape
        torch.Size([5, 2, 20])
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_features: int,
        hidden: Sequence[int] = (32, 64),
        depth: int = 1,
        groups: int = 8,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.shape = image_shape(self, shape, self.hidden)
        self.out_features = out_features
        self.depth, self.groups, self.activation = depth, groups, activation
        check_sizes(self, out_features=out_features)
        _check_depth(self, depth)
        channels, height, width = self.shape
        pixels = height * width
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, *self.hidden)):
            pixels //= 4
            layers.append(halve(inputs, outputs))
            layers += [ResidualBlock(outputs, pixels, groups, activation) for _ in range(depth)]
        layers += normalized(self.hidden[-1], pixels, groups, activation)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(self.hidden[-1] * pixels, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, channels, height, width)` to `(*, out_features)`."""
        check_input(self, x, self.shape)
        return fold(self.layers, x, event_dim=3)


class ResidualConvDecoder(nn.Module):
    """A residual convolutional network from vectors to images.

    A linear layer, then for each hidden size `depth` residual blocks and a transposed convolution
    of stride 2, which doubles height and width: the reverse of `ResidualConvEncoder`.

    For flat data put `nn.Flatten(-3)` behind it, in an `nn.Sequential`.

    Shapes: `(*, in_features)` to `(*, channels, height, width)`. A likelihood of images takes
    `event_dim=3`; one that needs several outputs per feature takes them along the channels.

    Args:
        in_features: size of the input's last dimension.
        shape: `(channels, height, width)` of one image, height and width multiples of
            2^len(hidden): with two hidden sizes 28x28, 32x32 and 64x64.
        hidden: channels of the hidden layers, from input to output.
        depth: number of residual blocks for each hidden size.
        groups: number of groups of channels, normalized separately; divides every hidden size.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if a size is not positive, `depth` is negative, height or width cannot be
            halved once for each hidden size, `groups` does not divide every hidden size, or the
            input has another shape.

    Example:
        >>> import torch
        >>> ResidualConvDecoder(10, (3, 32, 32))(torch.zeros(5, 2, 10)).shape
        torch.Size([5, 2, 3, 32, 32])
    """

    def __init__(
        self,
        in_features: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (64, 32),
        depth: int = 1,
        groups: int = 8,
        activation: type[nn.Module] = nn.SiLU,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.hidden = tuple(hidden)
        self.shape = image_shape(self, shape, self.hidden)
        self.depth, self.groups, self.activation = depth, groups, activation
        check_sizes(self, in_features=in_features)
        _check_depth(self, depth)
        channels, height, width = self.shape
        smallest = (self.hidden[0], height >> len(self.hidden), width >> len(self.hidden))
        pixels = smallest[1] * smallest[2]
        layers: list[nn.Module] = [
            nn.Linear(in_features, self.hidden[0] * pixels),
            nn.Unflatten(-1, smallest),
        ]
        for inputs, outputs in pairwise((*self.hidden, channels)):
            layers += [ResidualBlock(inputs, pixels, groups, activation) for _ in range(depth)]
            layers += [*normalized(inputs, pixels, groups, activation), double(inputs, outputs)]
            pixels *= 4
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, in_features)` to `(*, channels, height, width)`."""
        check_input(self, x, (self.in_features,))
        return fold(self.layers, x, event_dim=1)


def _check_depth(network: nn.Module, depth: int) -> None:
    if depth < 0:
        raise ValueError(f"{type(network).__name__} needs depth of at least 0, got {depth}")
