"""Passes over values without reading all of them at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

_VALUES = 2**22  # so that a memory-mapped file is never read whole


def pieces_of(values: Tensor) -> Sequence[Tensor]:
    """Split values into pieces of whole rows that fit easily into memory."""
    return torch.split(values, max(1, _VALUES // max(1, values[:1].numel())))
