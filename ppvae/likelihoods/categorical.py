"""Integer levels without order."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import categories
from ppvae.likelihoods.likelihood import Likelihood

_ONE = torch.Size()


class _Categorical(dist.Categorical):  # type: ignore[misc]
    """torch's categorical, but levels are floating-point numbers, as all data, with a mean."""

    @property
    def mean(self) -> Tensor:
        levels = torch.arange(self._num_events, dtype=self.probs.dtype, device=self.probs.device)
        mean: Tensor = self.probs @ levels
        return mean

    def sample(self, sample_shape: Any = _ONE) -> Tensor:
        levels: Tensor = super().sample(sample_shape)
        return levels.to(self.logits.dtype)


class Categorical(Likelihood):
    """Independent integer levels 0..K-1: p(x_i = k | z) = softmax(network(z)_i)_k.

    Shapes: the network maps `(*, latent)` to the logits of all levels side by side along the
    first dimension of the datapoint, starting with level 0 of all features.

    Args:
        network: module from latent to logits.
        levels: the number K of levels.
        event_dim: number of dimensions of one datapoint.

    Raises:
        ValueError: if there are fewer than two levels.

    Example:
        >>> colors = Categorical(nn.Identity(), levels=5)(torch.zeros(3 * 5))
        >>> colors.event_shape, round(colors.log_prob(torch.ones(3)).exp().item(), 4)
        (torch.Size([3]), 0.008)
    """

    def __init__(self, network: nn.Module, levels: int, event_dim: int = 1) -> None:
        super().__init__(network, event_dim)
        if levels < 2:
            raise ValueError(f"Categorical needs levels >= 2, got {levels}")
        self.levels = levels

    @property
    def outputs_per_feature(self) -> int:
        """One for each level."""
        return self.levels

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 to K - 1."""
        return categories(self.levels)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        logits = torch.stack(self.outputs(*conditions), -1)
        return _Categorical(logits=logits).to_event(self.event_dim)
