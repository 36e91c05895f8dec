"""A residual block of convolutions."""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + C(a(N(C(a(N(x)))))): C a convolution, N a normalization over groups of channels.

    The order is that of He, Zhang, Ren and Sun, "Identity mappings in deep residual networks",
    2016. The normalization is that of Wu and He, "Group normalization", 2018, which treats each
    datapoint on its own.

    Shapes: `(batch, channels, height, width)` to the same.

    Args:
        channels: number of channels.
        pixels: height times width.
        groups: number of groups of channels.
        activation: class of the activation, built without arguments.

    Raises:
        ValueError: if `groups` is not positive, does not divide the channels, or leaves one value
            per group.

    Example:
        >>> import torch
        >>> block = ResidualBlock(4, pixels=49, groups=2, activation=nn.SiLU)
        >>> block(torch.zeros(5, 4, 7, 7)).shape
        torch.Size([5, 4, 7, 7])
    """

    def __init__(
        self, channels: int, pixels: int, groups: int, activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.channels = channels
        self.pixels = pixels
        self.groups = groups
        self.activation = activation
        self.layers = nn.Sequential(
            *normalized(channels, pixels, groups, activation),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            *normalized(channels, pixels, groups, activation),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Add to `(batch, channels, height, width)`."""
        output: Tensor = x + self.layers(x)
        return output


def normalized(
    channels: int, pixels: int, groups: int, activation: type[nn.Module]
) -> tuple[nn.Module, nn.Module]:
    """Return a normalization over groups of channels and the activation of its output.

    Raises:
        ValueError: if `groups` is not positive, does not divide the channels, or leaves one value
            per group.

    Example:
        >>> normalized(4, pixels=49, groups=2, activation=nn.SiLU)[1]
        SiLU()
    """
    if groups < 1 or channels % groups:
        raise ValueError(
            f"groups must divide the channels of every hidden layer, got groups={groups} for "
            f"{channels} channels"
        )
    # A single value minus its own mean is always zero.
    if channels // groups * pixels < 2:
        raise ValueError(
            f"a group needs at least 2 values to be normalized, got groups={groups} for "
            f"{channels} channels of {pixels} pixel(s); give fewer groups or fewer hidden sizes"
        )
    return nn.GroupNorm(groups, channels), activation()
