"""Posteriors q(z|x): modules whose forward turns data into a distribution over one latent."""

from abc import ABC, abstractmethod

import pyro.distributions as dist
from torch import Tensor, nn
from torch.nn.functional import softplus


class Posterior(nn.Module, ABC):
    """An amortised posterior q(z|x): `forward(*conditions)` returns its distribution."""

    outputs_per_feature: int = 1
    """How many network outputs one latent dimension needs."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @abstractmethod
    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z | conditions), its event dimensions declared."""


class DiagonalNormal(Posterior):
    """The mean-field normal posterior q(z|x) = N(z; loc(x), diag(scale(x))^2).

    The network's last dimension holds `loc` and the raw scale side by side, and
    `scale = log(1 + exp(raw))` (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014).

    Shapes: the network maps `(*, features)` to `(*, 2 * latent)`.

    Args:
        network: module from data to `loc` and raw scale.

    Raises:
        ValueError: if the network's last dimension is odd.

    Example:
        >>> import torch
        >>> posterior = DiagonalNormal(nn.Linear(4, 6))
        >>> posterior(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    outputs_per_feature = 2

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        output = self.network(*conditions)
        if output.shape[-1] % 2:
            raise ValueError(
                "DiagonalNormal needs a network with an even last dimension (loc and raw scale "
                f"side by side), got output of shape {tuple(output.shape)}"
            )
        loc, raw_scale = output.chunk(2, dim=-1)
        return dist.Normal(loc, softplus(raw_scale)).to_event(1)
