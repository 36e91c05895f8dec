"""Shifts and scales each feature."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.data.pieces import pieces_of


@dataclass(frozen=True)
class Standardization:
    """The map x -> (x - loc) / scale, feature by feature.

    Args:
        loc: what is subtracted, `(*event)`.
        scale: what is divided by, `(*event)`.

    Example:
        >>> by = Standardization.of(torch.tensor([[0.0], [2.0]]))
        >>> by(torch.tensor([[3.0]]))
        tensor([[2.]])
    """

    loc: Tensor
    scale: Tensor

    @classmethod
    def of(cls, values: Tensor, seen: Tensor | None = None) -> "Standardization":
        """Return the map that gives `values` mean 0 and standard deviation 1.

        Features that do not vary are only shifted.

        Args:
            values: `(data, *event)`.
            seen: which of them are known, of the same shape; all unless given.
        """
        total = torch.zeros(values.shape[1:], dtype=torch.float64, device=values.device)
        squares, count = total.clone(), torch.as_tensor(float(len(values)))
        known = None if seen is None else [*pieces_of(seen)]
        if known is not None:
            count = sum((rows.sum(0, dtype=torch.float64) for rows in known), total).clamp(min=1)
        for number, rows in enumerate(pieces_of(values)):
            rows = rows if known is None else rows * known[number]
            total += rows.sum(0, dtype=torch.float64)
        loc = total / count
        for number, rows in enumerate(pieces_of(values)):
            gaps = (rows - loc).square()
            squares += (gaps if known is None else gaps * known[number]).sum(0)
        scale = (squares / count).sqrt()
        # What differs by rounding alone does not vary.
        varies = scale > torch.finfo(values.dtype).eps * loc.abs()
        scale = torch.where(varies, scale, torch.ones_like(scale))
        return cls(loc.to(values.dtype), scale.to(values.dtype))

    def __call__(self, values: Tensor) -> Tensor:
        """Standardize values of shape `(*, *event)`."""
        return (values - self.loc) / self.scale

    def invert(self, values: Tensor) -> Tensor:
        """Return standardized values of shape `(*, *event)` to their own units."""
        return values * self.scale + self.loc
