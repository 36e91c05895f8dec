"""Convolutions that halve or double height and width, and the shapes that allow it."""

from collections.abc import Sequence

from torch import nn

from ppvae.networks.shapes import shape_of


def image_shape(
    network: nn.Module, shape: Sequence[int], hidden: Sequence[int]
) -> tuple[int, int, int]:
    """Return the shape of an image that can be halved once for each hidden size.

    Raises:
        ValueError: if it cannot, or a size is missing or not positive.

    Example:
        >>> image_shape(nn.Identity(), (1, 28, 28), hidden=(32, 64))
        (1, 28, 28)
    """
    channels, height, width = shape_of(network, shape, ("channels", "height", "width"))
    name, multiple = type(network).__name__, 2 ** len(hidden)
    if not hidden or min(hidden) < 1:
        raise ValueError(
            f"{name} needs one or more hidden sizes, all positive, got hidden={tuple(hidden)}"
        )
    if height % multiple or width % multiple:
        raise ValueError(
            f"{name} with {len(hidden)} hidden sizes needs height and width that are multiples of "
            f"{multiple}, got shape={(channels, height, width)}; give fewer hidden sizes, or pad "
            "the images"
        )
    return channels, height, width


def halve(inputs: int, outputs: int) -> nn.Module:
    """Return a convolution from `(*, inputs, height, width)` to half the height and width."""
    return nn.Conv2d(inputs, outputs, kernel_size=4, stride=2, padding=1)


def double(inputs: int, outputs: int) -> nn.Module:
    """Return a transposed convolution from `(*, inputs, height, width)` to twice the size."""
    # The stride divides the kernel size, so all pixels get equally many terms: no checkerboard.
    return nn.ConvTranspose2d(inputs, outputs, kernel_size=4, stride=2, padding=1)
