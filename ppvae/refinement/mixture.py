"""Estimates from draws of several proposals, with the covariances that the draws share."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from ppvae.engine import log_mean_exp


@dataclass(frozen=True)
class Estimate:
    """A number for each datapoint, and the influence of each draw on it.

    Args:
        value: `(data,)`.
        influence: `(proposal, draw, data)`; the estimate varies as the sum over proposals of the
            means over draws of these, to first order.
        variance: of a part that does not depend on the draws, `(data,)`.
    """

    value: Tensor
    influence: Tensor
    variance: Tensor

    def __sub__(self, other: Self) -> "Estimate":
        return Estimate(
            self.value - other.value,
            self.influence - other.influence,
            self.variance + other.variance,
        )

    @property
    def error(self) -> Tensor:
        """The standard error, `(data,)`."""
        draws = self.influence.shape[1]
        return (self.influence.var(1).sum(0) / draws + self.variance).sqrt()


@dataclass(frozen=True)
class Mixture:
    """Log densities of draws from each of M proposals, S each.

    Args:
        log_joint: log p(x, z) in nats, `(proposal, draw, data)`.
        log_densities: log q_j(z), `(density, proposal, draw, data)`.
    """

    log_joint: Tensor
    log_densities: Tensor

    def terms(self, proposal: int) -> Tensor:
        """Return log p(x, z) - log q(z) of one proposal's draws, `(draw, data)`."""
        return self.log_joint[proposal] - self.log_densities[proposal, proposal]

    def elbo(self, proposal: int) -> Estimate:
        """Return E[log p(x, z) - log q(z)] under one of the proposals."""
        terms = self.terms(proposal)
        influence = torch.zeros_like(self.log_joint)
        influence[proposal] = terms
        value = terms.mean(0)
        return Estimate(value, influence, torch.zeros_like(value))

    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log mean_j q_j(z), `(proposal, draw, data)`.

        Averaged over all proposals' draws, their exponentials are P(X) without bias (Veach and
        Guibas, "Optimally Combining Sampling Techniques for Monte Carlo Rendering", 1995).
        """
        proposals = len(self.log_joint)
        return self.log_joint - self.log_densities.logsumexp(0) + math.log(proposals)

    def log_evidence(self) -> Estimate:
        """Return log P(X)."""
        log_weights = self.log_weights()
        value, _ = log_mean_exp(log_weights.flatten(0, 1))
        influence = (log_weights - value).exp() / len(log_weights)
        return Estimate(value, influence, torch.zeros_like(value))

    def given(self, value: Tensor, error: Tensor) -> Estimate:
        """Return an estimate from elsewhere, independent of these draws."""
        return Estimate(value, torch.zeros_like(self.log_joint), error.square())


def joined(parts: Sequence[Mixture]) -> Mixture:
    """Put draws of the same proposals together."""
    return Mixture(
        torch.cat([part.log_joint for part in parts], 1),
        torch.cat([part.log_densities for part in parts], 2),
    )
