"""The role of likelihoods of counts, whose means are multiplied by a size."""

import math

from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.distributions import LARGEST_COUNT, held
from ppvae.likelihoods.likelihood import Likelihood
from ppvae.likelihoods.size_factors import SizeFactor, UnitSize


class Counts(Likelihood):
    """A likelihood of counts, whose means are multiplied by the size of a datapoint.

    Args:
        network: module from latent to the parameters of each count.
        event_dim: number of dimensions of one datapoint.
        size: the factor of the means; `ObservedSize()` takes it from the batch.
    """

    def __init__(
        self, network: nn.Module, event_dim: int = 1, size: SizeFactor | None = None
    ) -> None:
        super().__init__(network, event_dim)
        self.size = size or UnitSize()

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 on."""
        return constraints.nonnegative_integer

    def held_log_mean(self, log_mean: Tensor) -> Tensor:
        """Return log means, at most that of the largest count: their exponentials are finite."""
        return held(log_mean, most=math.log(LARGEST_COUNT))
