"""A network of the last tensor, and linear-Gaussian pairs of which log p(x | y) is known."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import ppvae
from ppvae import likelihoods, posteriors, priors
from ppvae.networks import Joined


class Last(nn.Module):
    """A network of the last tensor alone."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, *tensors):
        return self.network(tensors[-1])


@dataclass(frozen=True)
class LinearGaussian:
    """z | y ~ N(B y, diag(spread)^2), x | z, y ~ N(W z + C y, noise^2 I), W^T W diagonal.

    The posterior is diagonal then, and q(z | x, y) it, but for a perturbation of its mean.
    """

    of_condition: Tensor
    spread: Tensor
    loadings: Tensor
    direct: Tensor
    noise: float
    perturbation: float

    @classmethod
    def random(cls, seed, *, perturbation=0.0, features=5, latent=2, conditions=3, noise=0.7):
        like = {"generator": torch.Generator().manual_seed(seed), "dtype": torch.float64}
        loadings = torch.linalg.qr(torch.randn(features, latent, **like)).Q
        return cls(
            torch.randn(latent, conditions, **like),
            0.5 + torch.rand(latent, **like),
            loadings * (1 + torch.rand(latent, **like)),
            torch.randn(features, conditions, **like),
            noise,
            perturbation,
        )

    def marginal(self, y):
        """p(x | y)."""
        scaled = self.loadings * self.spread
        covariance = scaled @ scaled.T + self.noise**2 * torch.eye(len(scaled)).double()
        return MultivariateNormal(
            y @ (self.loadings @ self.of_condition + self.direct).T, covariance
        )

    @property
    def precision(self):
        return self.spread**-2 + self.loadings.square().sum(0) / self.noise**2

    def posterior_kl(self):
        """KL[q(z | x, y) || p(z | x, y)]: the means differ by the perturbation, everywhere."""
        return 0.5 * (self.precision * self.perturbation**2).sum()

    def pair(self):
        latent, conditions = self.of_condition.shape
        features = len(self.loadings)
        prior = linear(self.of_condition, raw(self.spread).expand(latent))
        decoder = nn.Linear(latent + conditions, features, bias=False).double()
        decoder.weight.data = torch.cat([self.loadings, self.direct], 1)
        to_latent = self.loadings.T / self.noise**2
        of_condition = (self.of_condition.T / self.spread**2).T - to_latent @ self.direct
        slope = (torch.cat([to_latent, of_condition], 1).T / self.precision).T
        encoder = linear(slope, raw(self.precision.rsqrt()))
        encoder.bias.data[:latent] = self.perturbation
        return ppvae.VAE(
            priors.ConditionalNormal(prior),
            likelihoods.Normal(Joined(decoder), scale=self.noise),
            posteriors.DiagonalNormal(Joined(encoder)),
        ).double()


def raw(scale):
    return scale.expm1().log()  # undoes the softplus


def linear(slope, raw_scale):
    """A layer to means that are linear and scales that are constant."""
    layer = nn.Linear(slope.shape[1], 2 * slope.shape[0]).double()
    layer.weight.data = torch.cat([slope, torch.zeros_like(slope)])
    layer.bias.data = torch.cat([torch.zeros_like(raw_scale), raw_scale])
    return layer


def z_score(values, expected, errors):
    """Deviation of a mean from the expected one in standard errors."""
    return (values.mean() - expected.mean()) / (math.sqrt((errors**2).sum()) / len(errors))
