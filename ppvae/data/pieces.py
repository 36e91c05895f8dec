"""Passes over values without reading all of them at once."""

from collections.abc import Iterable

import torch
from torch import Tensor

from ppvae.data.lazy_rows import LazyRows

_VALUES = 2**22  # so that a memory-mapped file is never read whole


def pieces_of(values: Tensor | LazyRows) -> Iterable[Tensor]:
    """Split values into pieces of whole rows that fit easily into memory."""
    rows = max(1, _VALUES // max(1, values.shape[1:].numel()))
    return values.split(rows) if isinstance(values, LazyRows) else torch.split(values, rows)
