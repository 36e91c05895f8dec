"""Classes as vectors, for networks that take numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class OneHot(nn.Module):
    """Numbers of classes as one-hot vectors, and other numbers as they are, side by side.

    Shapes: `(*, len(levels))` to `(*, width)`.

    Args:
        levels: for each column its number of classes, or 0 if it is a number.

    Raises:
        ValueError: if there is no column, a number of classes is negative, or the input has
            another number of columns.

    Example:
        >>> OneHot([3, 0])(torch.tensor([[2.0, 0.5]]))
        tensor([[0.0000, 0.0000, 1.0000, 0.5000]])
    """

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__()
        self.levels = list(levels)
        if not self.levels or min(self.levels) < 0:
            raise ValueError(f"levels must be numbers of classes, or 0, got {self.levels}")

    @property
    def width(self) -> int:
        """How many numbers there are side by side."""
        return sum(max(1, count) for count in self.levels)

    def check(self, columns: Tensor, needed: str) -> None:
        """Refuse numbers that are those of no class.

        Args:
            columns: `(*, len(levels))`.
            needed: what the sentence says first.

        Raises:
            ValueError: if there is one; it names the first row.
        """
        for place, (count, column) in enumerate(zip(self.levels, columns.unbind(-1), strict=True)):
            if not count:
                continue
            known = (column >= 0) & (column < count) & (column == column.round())
            if not bool(known.all()):
                row = int((~known).flatten().nonzero()[0])
                where = f"row {row}" + f", column {place}" * (len(self.levels) > 1)
                value = float(column.flatten()[row])
                raise ValueError(f"{needed} 0 to {count - 1}, got {value:g} in {where}")

    def forward(self, columns: Tensor) -> Tensor:
        """Return the vectors; NaN where a number is that of no class."""
        if columns.dim() == 0 or columns.shape[-1] != len(self.levels):
            raise ValueError(
                f"OneHot needs numbers of shape (*, {len(self.levels)}), got "
                f"{tuple(columns.shape)}"
            )
        parts = []
        for count, column in zip(self.levels, columns.unbind(-1), strict=True):
            column = column.unsqueeze(-1)
            if count:
                equal = column == torch.arange(count, device=column.device)
                like = columns.dtype if columns.is_floating_point() else torch.get_default_dtype()
                column = equal.to(like).masked_fill(~equal.any(-1, keepdim=True), torch.nan)
            parts.append(column)
        return torch.cat(parts, -1)
