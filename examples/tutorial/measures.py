"""Measurements used by several steps: an average with its error, an integral over a grid."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

import ppvae


class Estimate(NamedTuple):
    """An average over random draws and its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.4f}"


def average(draws: Tensor) -> Estimate:
    """Average independent draws; the error of the average is their spread over sqrt(draws)."""
    return Estimate(draws.mean().item(), draws.std().item() / math.sqrt(len(draws)))


def exact(value: float) -> str:
    """Write a number without error, aligned with numbers that have one."""
    return f"{value:.4f}" + " " * len(" +- 0.0000")


class Grid(NamedTuple):
    """One latent z on a fine grid: an integral over z becomes a sum, exact to rounding here."""

    z: Tensor
    log_joint: Tensor
    """log P(X, z), `(point, data)`."""

    @property
    def log_step(self) -> float:
        """The logarithm of the distance between two points of the grid."""
        return math.log(float(self.z[1] - self.z[0]))

    @property
    def log_evidence(self) -> Tensor:
        """The logarithm of P(X), the integral of P(X, z) over z, `(data,)`."""
        return self.log_joint.logsumexp(0) + self.log_step

    @property
    def posterior(self) -> Tensor:
        """The density P(z|X) = P(X, z) / P(X), `(point, data)`."""
        return (self.log_joint - self.log_evidence).exp()

    def posterior_kl(self, pair: ppvae.VAE, x: Tensor) -> Tensor:
        """Return KL[Q(z|X) || P(z|X)], an integral over z, `(data,)`."""
        with torch.no_grad():
            log_guide = pair.encode(x).log_prob(self.z[:, None, None]).double()
        log_ratio = log_guide - (self.log_joint - self.log_evidence)
        return (log_guide.exp() * log_ratio).sum(0) * math.exp(self.log_step)


@torch.no_grad()
def over_latent(pair: ppvae.VAE, x: Tensor, *, bound: float = 6.0, points: int = 3001) -> Grid:
    """Evaluate log P(X, z) of a pair with one latent, for z from -bound to bound."""
    z = torch.linspace(-bound, bound, points)
    log_prior = pair.prior().log_prob(z[:, None])
    decoded = pair.decode(z[:, None, None])
    log_likelihood = torch.cat([decoded.log_prob(rows) for rows in x.split(20)], dim=1)
    return Grid(z, (log_prior[:, None] + log_likelihood).double())
