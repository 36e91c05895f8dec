"""The role of p(z)."""

from abc import ABC, abstractmethod

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints


class Prior(nn.Module, ABC):
    """A prior p(z), or p(z | condition): `forward(*conditions)` returns its distribution."""

    @property
    def support(self) -> constraints.Constraint:
        """The values that a latent may take; the posterior's must be the same."""
        return constraints.real_vector

    @abstractmethod
    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z), its event dimensions declared, batched as the conditions are."""
