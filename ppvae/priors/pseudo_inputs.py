"""Learned datapoints."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class PseudoInputs(nn.Module):
    """K learned points u_k in the space of the data, for `VampPrior`.

    With bounds, u = lower + (upper - lower) sigmoid(raw) stays in the range of the data; without
    bounds, u = raw. They start at random values around the middle of the bounds, or around 0;
    `from_data` starts them at datapoints.

    Args:
        event_shape: shape of one datapoint.
        components: number K of points.
        bounds: the lowest and the highest value of the data, such as (0, 1) for pixels.
        units: the units of the data, such as the `likelihoods.Units` of the pair: bounds and raw
            values are then those of standardized data.

    Raises:
        ValueError: if `components` or a size is not positive, or the bounds are not finite with
            lower < upper.

    Example:
        >>> PseudoInputs((1, 28, 28), components=10, bounds=(0.0, 1.0))().shape
        torch.Size([10, 1, 28, 28])
    """

    def __init__(
        self,
        event_shape: Sequence[int],
        components: int = 500,
        bounds: tuple[float, float] | None = None,
        units: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if components < 1 or min(event_shape, default=1) < 1:
            raise ValueError(
                "PseudoInputs need components >= 1 and an event_shape of positive sizes, got "
                f"{components} and {tuple(event_shape)}"
            )
        if bounds is not None and not -math.inf < bounds[0] < bounds[1] < math.inf:
            raise ValueError(
                "PseudoInputs need finite bounds (lower, upper) with lower < upper, got "
                f"{bounds}; leave bounds out for unbounded data"
            )
        self.event_shape, self.components, self.bounds = tuple(event_shape), components, bounds
        self.units = units
        self.raw = nn.Parameter(torch.randn(components, *event_shape))

    @classmethod
    def from_data(
        cls,
        rows: Tensor,
        bounds: tuple[float, float] | None = None,
        units: nn.Module | None = None,
    ) -> "PseudoInputs":
        """Return points that start at datapoints.

        A sigmoid never reaches its bounds. So a value outside the bounds, or closer to one than a
        hundredth of the range, starts a hundredth of the range inside, where the gradient is not
        zero.

        Args:
            rows: one datapoint for each point, `(components, *event)`, such as
                `x[torch.randperm(len(x))[:500]]`.
            bounds: as of the constructor.
            units: as of the constructor; rows are then standardized.

        Raises:
            ValueError: if `rows` does not have that shape or a value is not finite, and as in
                the constructor.

        Example:
            >>> PseudoInputs.from_data(torch.tensor([[0.0, 0.5]]), bounds=(0.0, 1.0))().detach()
            tensor([[0.0100, 0.5000]])
        """
        if rows.dim() < 2 or not bool(rows.isfinite().all()):
            raise ValueError(
                "PseudoInputs need rows of shape (components, *event) without NaN and infinite "
                f"values to start from, got shape {tuple(rows.shape)}"
            )
        points = cls(rows.shape[1:], len(rows), bounds, units)
        raw = rows.detach() * torch.ones((), dtype=points.raw.dtype, device=rows.device)
        if bounds is not None:
            raw = torch.logit((raw - bounds[0]) / (bounds[1] - bounds[0]), eps=0.01)
        points.raw = nn.Parameter(raw)
        return points

    def forward(self) -> Tensor:
        """Return the points, `(components, *event_shape)`."""
        points: Tensor = self.raw
        if self.bounds is not None:
            lower, upper = self.bounds
            points = lower + (upper - lower) * self.raw.sigmoid()
        if self.units is not None:
            points, _ = self.units(points, 1.0)
        return points
