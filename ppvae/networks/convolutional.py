"""Convolutional networks: images to vectors and back."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from ppvae.networks.halving import double, halve, image_shape
from ppvae.networks.shapes import check_input, check_sizes, fold


class ConvEncoder(nn.Module):
    """A convolutional network from images to vectors.

    Each hidden layer is a convolution of stride 2, which halves height and width, and an
    activation; a linear layer follows (after Radford, Metz and Chintala, "Unsupervised
    representation learning with deep convolutional generative adversarial networks", 2016,
    without its batch normalization, so that no datapoint depends on others).

    For flat data: `nn.Sequential(nn.Unflatten(-1, (1, 28, 28)), ConvEncoder((1, 28, 28), 20))`.

    Shapes: `(*, channels, height, width)` to `(*, out_features)`.

    Args:
        shape: `(channels, height, width)` of one image, height and width multiples of
            2^len(hidden): with two hidden sizes 28x28, 32x32 and 64x64.
        out_features: size of the output's last dimension.
        hidden: channels of the hidden layers, from input to output.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if a size is not positive, height or width cannot be halved once for each
            hidden size, or the input has another shape.

    Example:
        >>> import torch
        >>> ConvEncoder((1, 28, 28), 20)(torch.zeros(5, 3, 1, 28, 28)).shape
        torch.Size([5, 3, 20])
    """

    def __init__(
        self,
        shape: Sequence[int],
        out_features: int,
        hidden: Sequence[int] = (32, 64),
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.hidden = tuple(hidden)
        self.shape = image_shape(self, shape, self.hidden)
        self.out_features = out_features
        self.activation = activation
        check_sizes(self, out_features=out_features)
        channels, height, width = self.shape
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((channels, *self.hidden)):
            layers += [halve(inputs, outputs), activation()]
        pixels = height * width // 4 ** len(self.hidden)
        self.layers = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(self.hidden[-1] * pixels, out_features)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, channels, height, width)` to `(*, out_features)`."""
        check_input(self, x, self.shape)
        return fold(self.layers, x, event_dim=3)


class ConvDecoder(nn.Module):
    """A convolutional network from vectors to images.

    A linear layer, then transposed convolutions of stride 2, each of which doubles height and
    width, with activations between them: the reverse of `ConvEncoder`.

    For flat data: `nn.Sequential(ConvDecoder(10, (1, 28, 28)), nn.Flatten(-3))`.

    Shapes: `(*, in_features)` to `(*, channels, height, width)`. A likelihood of images takes
    `event_dim=3`; one that needs several outputs per feature takes them along the channels.

    Args:
        in_features: size of the input's last dimension.
        shape: `(channels, height, width)` of one image, height and width multiples of
            2^len(hidden): with two hidden sizes 28x28, 32x32 and 64x64.
        hidden: channels of the hidden layers, from input to output.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if a size is not positive, height or width cannot be halved once for each
            hidden size, or the input has another shape.

    Example:
        >>> import torch
        >>> ConvDecoder(10, (1, 28, 28))(torch.zeros(5, 3, 10)).shape
        torch.Size([5, 3, 1, 28, 28])
    """

    def __init__(
        self,
        in_features: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (64, 32),
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.hidden = tuple(hidden)
        self.shape = image_shape(self, shape, self.hidden)
        self.activation = activation
        check_sizes(self, in_features=in_features)
        channels, height, width = self.shape
        smallest = (self.hidden[0], height >> len(self.hidden), width >> len(self.hidden))
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((*self.hidden, channels)):
            layers += [activation(), double(inputs, outputs)]
        self.layers = nn.Sequential(
            nn.Linear(in_features, smallest[0] * smallest[1] * smallest[2]),
            nn.Unflatten(-1, smallest),
            *layers,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(*, in_features)` to `(*, channels, height, width)`."""
        check_input(self, x, (self.in_features,))
        return fold(self.layers, x, event_dim=1)
