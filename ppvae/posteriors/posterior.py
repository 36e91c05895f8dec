"""The role of q(z|x)."""

from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import steady


class Posterior(nn.Module, ABC):
    """An amortized posterior q(z|x): `forward(*conditions)` returns its distribution."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def support(self) -> constraints.Constraint:
        """The values that a latent may take; the prior's must be the same."""
        return constraints.real_vector

    @property
    def outputs_per_feature(self) -> int:
        """How many network outputs one latent dimension needs."""
        return 1

    def outputs_for(self, latent: int) -> int:
        """Return how many network outputs `latent` latent dimensions need."""
        return self.outputs_per_feature * latent

    def outputs(self, *conditions: Tensor) -> tuple[Tensor, ...]:
        """Return the network's output split into its parts, each `(*, latent)`.

        Raises:
            ValueError: if the network's output cannot be split so.
        """
        output = steady(self.network(*conditions))
        parts, size = self.outputs_per_feature, output.shape[-1]
        if size % parts:
            raise ValueError(
                f"{type(self).__name__} needs a network that gives {parts} outputs per latent "
                f"dimension side by side, got output of shape {tuple(output.shape)}"
            )
        return torch.split(output, size // parts, -1)

    @abstractmethod
    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z | conditions), its event dimensions declared."""
