"""A drawing that can be read off at any place, not at its pixels alone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample


class Canvas(nn.Module):
    """Draws the content on a grid once, and reads the drawing off at points anywhere.

    Pixels lie in [-1, 1] x [-1, 1]. Between four of them a value is interpolated linearly in both
    directions; outside it is that of the nearest point of the edge (Jaderberg, Simonyan, Zisserman
    and Kavukcuoglu, "Spatial transformer networks", 2015).

    Shapes: points `(*, points, 2)`, down and right, and content `(*, 1, content)` to
    `(*, points, outputs)`.

    Args:
        network: module from `(*, content)` to `(*, outputs * height * width)`, first all pixels of
            the first output.
        shape: height and width of the drawing.

    Raises:
        ValueError: if height or width is below 2, or the inputs are of other shapes.

    Example:
        >>> canvas = Canvas(nn.Linear(3, 64), (8, 8))
        >>> canvas(torch.zeros(5, 100, 2), torch.zeros(5, 1, 3)).shape
        torch.Size([5, 100, 1])
    """

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        if len(shape) != 2 or min(shape) < 2:
            raise ValueError(f"Canvas needs height and width of at least 2, got {tuple(shape)}")
        self.network, self.shape = network, tuple(shape)

    def forward(self, points: Tensor, content: Tensor) -> Tensor:
        """Return the drawings of the content at the points."""
        if points.shape[-1:] != (2,) or points.dim() < 2 or content.shape[-2:-1] != (1,):
            raise ValueError(
                "Canvas needs points (*, points, 2) and content (*, 1, content), got "
                f"{tuple(points.shape)} and {tuple(content.shape)}"
            )
        drawings = self.network(content.squeeze(-2)).unflatten(-1, (-1, *self.shape))
        leading = torch.broadcast_shapes(points.shape[:-2], drawings.shape[:-3])
        drawings = drawings.expand(*leading, -1, -1, -1)
        # torch's sampling names the place to the right first.
        places = points.flip(-1).expand(*leading, -1, -1).unsqueeze(-2)
        read = grid_sample(
            drawings.reshape(-1, *drawings.shape[-3:]),
            places.reshape(-1, *places.shape[-3:]),
            padding_mode="border",
            align_corners=True,
        )
        outputs = read.squeeze(-1).transpose(-1, -2)
        return outputs.reshape(*leading, *outputs.shape[1:])
