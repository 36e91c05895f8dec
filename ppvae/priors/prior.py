"""The role of p(z)."""

from abc import ABC, abstractmethod

import pyro.distributions as dist
from torch import Tensor, nn


class Prior(nn.Module, ABC):
    """A prior p(z), or p(z | condition): `forward(*conditions)` returns its distribution."""

    @abstractmethod
    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z), its event dimensions declared, batched as the conditions are."""
