"""Data of any one family of which cells may be missing."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood


class Masked(Likelihood):
    """A likelihood of independent cells, of which the last condition says which are known.

        log p(x|z) = sum of log p(x_j|z) over known j

    This is the density of what was seen if a cell's being missing does not depend on its value
    (Rubin, "Inference and missing data", 1976). `Columns(masked=True)` does this for tables.

    Shapes: known cells are `(*, *event)`, 1 or 0, or can be broadcast so.

    Args:
        likelihood: of complete data, vectors or images; it gets the conditions before the last.

    Raises:
        ValueError: when called, if the cells of the likelihood are not independent given z.

    Example:
        >>> from torch import nn
        >>> from ppvae.likelihoods import Bernoulli
        >>> pixels = Masked(Bernoulli(nn.Linear(2, 3)))(torch.zeros(2), torch.tensor([1., 0., 0.]))
        >>> pixels.log_prob(torch.ones(3)).shape, pixels.mean.shape
        (torch.Size([]), torch.Size([3]))
    """

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__(likelihood, likelihood.event_dim)

    @property
    def likelihood(self) -> Likelihood:
        """That of complete data: what it is a network to is masked."""
        assert isinstance(self.network, Likelihood)
        return self.network

    @property
    def outputs_per_feature(self) -> int:
        """As many as that of complete data."""
        return self.likelihood.outputs_per_feature

    def outputs_for(self, features: int) -> int:
        """Return how many network outputs a datapoint of `features` features needs."""
        return self.likelihood.outputs_for(features)

    @property
    def support(self) -> constraints.Constraint:
        """That of complete data."""
        return self.likelihood.support

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x | conditions) of the known cells."""
        *given, seen = conditions
        whole = self.likelihood(*given)
        independent = isinstance(whole, torch.distributions.Independent)
        if not independent or whole.base_dist.event_shape:
            raise ValueError(
                "missing cells need a likelihood whose cells are independent given z, "
                f"{type(self.likelihood).__name__} is one of whole vectors; fill in the missing "
                "cells"
            )
        return whole.base_dist.mask(seen > 0).to_event(self.event_dim)
