"""Gray pixels scored as if they were probabilities: a pseudo-likelihood."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood


class _GrayBernoulli(dist.Bernoulli):  # type: ignore[misc]
    support = constraints.unit_interval
    normalized = False  # read by the diagnostics, which then refuse log P(X)


class GrayBernoulli(Likelihood):
    """Cross-entropy of gray pixels in [0, 1], x log p + (1 - x) log(1 - p): not a density of x.

    Many tutorials score gray images in this way. The score does not integrate to one over x, so it
    is a pseudo-likelihood: a pair with it trains and has an ELBO-like score, but diagnostics that
    need log P(X) refuse it. `ContinuousBernoulli` is a density of the same pixels
    (Loaiza-Ganem and Cunningham, "The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders", 2019).

    Shapes: the network maps `(*, latent)` to logits `(*, features)`.

    Args:
        network: module from latent to logits.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> import torch
        >>> score = GrayBernoulli(torch.nn.Linear(2, 3))(torch.zeros(2))
        >>> score.log_prob(torch.full((3,), 0.5)).shape
        torch.Size([])
    """

    @property
    def support(self) -> constraints.Constraint:
        """The interval [0, 1]."""
        return constraints.unit_interval

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return the pseudo-likelihood of one datapoint."""
        return _GrayBernoulli(logits=self.network(*conditions)).to_event(self.event_dim)
