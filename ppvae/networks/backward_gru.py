"""A recurrent network that reads sequences from their end."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ppvae.networks.recurrence import read
from ppvae.networks.shapes import check_input, check_sizes, fold, shape_of


class BackwardGRU(nn.Module):
    """What is seen from each step on: h_t = GRU(x_t, h_{t+1}), from the last step back.

    Steps that are not there come after the others; they change none of them, whatever they hold.

    Shapes: `(*, time, features)`, and which steps are there `(*, time)`, to `(*, time, width)`.

    Args:
        shape: `(time, features)` of one sequence.
        width: size of h.
        inputs: applied to every step first, of as many outputs, such as `networks.Standardized`.

    Raises:
        ValueError: if a size is not positive, or the input is of another shape.

    Example:
        >>> BackwardGRU((12, 3), 16)(torch.zeros(5, 12, 3), torch.ones(5, 12)).shape
        torch.Size([5, 12, 16])
    """

    def __init__(
        self, shape: Sequence[int], width: int = 64, inputs: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.shape, self.width = shape_of(self, shape, ("time", "features")), width
        check_sizes(self, width=width)
        self.inputs = inputs
        self.recurrent = nn.GRU(self.shape[1], width, batch_first=True)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """Map sequences to what is seen from each step on."""
        check_input(self, x, self.shape)
        steps = torch.arange(x.shape[-2], device=x.device)
        if seen is None:
            places = steps.flip(0).expand(x.shape[:-1])
        else:
            x = torch.where(seen.unsqueeze(-1) > 0, x, 0.0)
            # The last step that is there comes first; those that are not stay where they are.
            length = (seen > 0).sum(-1, keepdim=True)
            places = torch.where(steps < length, length - 1 - steps, steps)
        x = x if self.inputs is None else self.inputs(x)
        reversed_x = x.gather(-2, places.unsqueeze(-1).expand_as(x))
        states = fold(partial(read, self.recurrent), reversed_x, event_dim=2)
        return states.gather(-2, places.unsqueeze(-1).expand_as(states))
