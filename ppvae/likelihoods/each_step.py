"""Sequences whose steps are independent, given the states."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood


class EachStep(Likelihood):
    """A sequence: p(x|z) = prod_t p(x_t|z_t), over the steps that are there.

    Shapes: z `(*, T, latent)`; the last condition says which steps are there, `(*, T)`, as all are
    unless given; x `(*, T, features)`.

    Args:
        likelihood: of one step.

    Example:
        >>> import torch
        >>> from ppvae.likelihoods import Normal
        >>> series = EachStep(Normal(torch.nn.Linear(2, 6)))(torch.zeros(4, 5, 2))
        >>> series.batch_shape, series.event_shape
        (torch.Size([4]), torch.Size([5, 3]))
    """

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__(likelihood.network, event_dim=2)
        self.likelihood = likelihood

    @property
    def support(self) -> constraints.Constraint:
        """The values that one feature of a step may take."""
        return self.likelihood.support

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over sequences."""
        z, *given = conditions
        step: dist.Distribution = self.likelihood(z)
        return (_Seen(step, given[-1] > 0) if given else step).to_event(1)


class _Seen(dist.MaskedDistribution):  # type: ignore[misc]
    """Steps of which some are there; a first step stands for the others.

    A value that does not count has density 1, but not a gradient of 0 if its own is infinite.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log densities of steps, in nats."""
        there = self._mask.unsqueeze(-1)
        log_prob: Tensor = super().log_prob(torch.where(there, value, value[..., :1, :]))
        return log_prob
