"""The shape of one datapoint: checked when a network is built, and at each of its inputs."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn


def shape_of(network: nn.Module, shape: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    """Return a shape as a tuple of as many positive sizes as there are names.

    Raises:
        ValueError: if it is not such a shape.

    Example:
        >>> shape_of(nn.Identity(), [1, 28, 28], ("channels", "height", "width"))
        (1, 28, 28)
    """
    sizes = tuple(shape) if isinstance(shape, Sequence) else ()
    if len(sizes) != len(names) or not all(isinstance(n, int) and n > 0 for n in sizes):
        raise ValueError(
            f"{type(network).__name__} needs shape=({', '.join(names)}) in positive integers, "
            f"got {shape!r}"
        )
    return sizes


def check_sizes(network: nn.Module, **sizes: int) -> None:
    """Refuse sizes that are not positive.

    Raises:
        ValueError: with all of them.
    """
    if min(sizes.values()) < 1:
        given = ", ".join(f"{name}={size}" for name, size in sizes.items())
        raise ValueError(f"{type(network).__name__} needs positive sizes, got {given}")


def check_input(network: nn.Module, x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse an input whose last dimensions are not of the given shape.

    Raises:
        ValueError: with both shapes.
    """
    if x.shape[-len(shape) :] != shape:
        wanted = ", ".join(map(str, shape))
        flat = f"; flat data need nn.Unflatten(-1, {shape}) in front" if len(shape) > 1 else ""
        raise ValueError(
            f"{type(network).__name__} needs input of shape (*, {wanted}), got "
            f"{tuple(x.shape)}{flat}"
        )


def fold(layers: Callable[[Tensor], Tensor], x: Tensor, event_dim: int) -> Tensor:
    """Run layers that take one batch dimension on any number of leading dimensions, zero included.

    Args:
        layers: from `(batch, *event)` to `(batch, *output)`.
        x: input of shape `(*, *event)`.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> import torch
        >>> fold(nn.Conv2d(1, 3, 2), torch.zeros(4, 5, 1, 6, 6), event_dim=3).shape
        torch.Size([4, 5, 3, 5, 5])
    """
    batch = x.dim() - event_dim
    output = layers(x.reshape(-1, *x.shape[batch:]))
    return output.reshape(*x.shape[:batch], *output.shape[1:])
