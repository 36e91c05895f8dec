"""The role of p(x|z)."""

from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import steady


class Likelihood(nn.Module, ABC):
    """A likelihood p(x|z): `forward(*conditions)` returns the distribution of x given z.

    Args:
        network: module from `(*, latent)` to the distribution's parameters.
        event_dim: number of dimensions of one datapoint: 1 for vectors, 3 for images with
            channels.
    """

    def __init__(self, network: nn.Module, event_dim: int = 1) -> None:
        super().__init__()
        if event_dim < 1:
            raise ValueError(f"{type(self).__name__} needs event_dim >= 1, got {event_dim}")
        self.network = network
        self.event_dim = event_dim

    @property
    def outputs_per_feature(self) -> int:
        """How many network outputs one data feature needs."""
        return 1

    def outputs_for(self, features: int) -> int:
        """Return how many network outputs a datapoint of `features` features needs."""
        return self.outputs_per_feature * features

    @property
    @abstractmethod
    def support(self) -> constraints.Constraint:
        """The values that one data feature may take."""

    def outputs(self, *conditions: Tensor) -> tuple[Tensor, ...]:
        """Return the network's output split into its parts, each of the shape of the data.

        Raises:
            ValueError: if the network's output cannot be split so.
        """
        output = steady(self.network(*conditions))
        parts, size = self.outputs_per_feature, output.shape[-self.event_dim]
        if size % parts:
            raise ValueError(
                f"{type(self).__name__} needs a network that gives {parts} outputs per feature "
                f"side by side, got output of shape {tuple(output.shape)}"
            )
        return torch.split(output, size // parts, -self.event_dim)

    @abstractmethod
    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x | conditions), its event dimensions declared."""
