"""One value for each feature of a distribution p(x|z)."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution


def mean_of(likelihood: Distribution) -> Tensor:
    """Return the mean of each feature; of levels without order, the most probable one.

    Example:
        >>> mean_of(dist.Categorical(logits=torch.tensor([[0.0, 3.0, 2.0]])).to_event(1))
        tensor([1])
    """
    if isinstance(likelihood, dist.Independent | dist.MaskedDistribution):
        return mean_of(likelihood.base_dist)
    parts = getattr(likelihood, "parts", None)
    if parts is not None:  # of `Columns`
        return torch.cat([mean_of(part) for part in parts], -1)
    if isinstance(likelihood, torch.distributions.Categorical):
        return likelihood.logits.argmax(-1)
    mean: Tensor = likelihood.mean
    return mean
