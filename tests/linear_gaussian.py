"""Linear-Gaussian pairs, of which every term of formula (2) is known in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

import ppvae
from ppvae import likelihoods, posteriors, priors


@dataclass(frozen=True)
class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z + b, noise^2 I), q(z|x) = N(A x + c, diag(scale)^2)."""

    loadings: Tensor
    offset: Tensor
    noise: float
    slope: Tensor
    intercept: Tensor
    scale: Tensor

    @classmethod
    def random(cls, seed, *, features=5, latent=2, orthogonal=False, perturbation=0.1, noise=0.7):
        """Fixed random parameters.

        The posterior is diagonal if the loadings are orthogonal; the guide then differs from it by
        the perturbation of its slope alone, and not at all without one.
        """
        generator = torch.Generator().manual_seed(seed)
        double = {"generator": generator, "dtype": torch.float64}
        loadings = torch.randn(features, latent, **double)
        if orthogonal:
            loadings = torch.linalg.qr(loadings).Q * (1 + torch.rand(latent, **double))
        offset = torch.randn(features, **double)
        precision = torch.eye(latent).double() + loadings.T @ loadings / noise**2
        slope = torch.linalg.solve(precision, loadings.T) / noise**2
        slope = slope + perturbation * torch.randn(latent, features, **double)
        scale = precision.diagonal().rsqrt()
        return cls(loadings, offset, noise, slope, -slope @ offset, scale)

    def pair(self, dtype=torch.float64):
        """The same as a VAE with linear networks."""
        features, latent = self.loadings.shape
        decoder, encoder = nn.Linear(latent, features), nn.Linear(features, 2 * latent)
        with torch.no_grad():
            encoder.weight.zero_()
            decoder.double(), encoder.double()
            decoder.weight.copy_(self.loadings)
            decoder.bias.copy_(self.offset)
            encoder.weight[:latent] = self.slope
            encoder.bias[:latent] = self.intercept
            encoder.bias[latent:] = self.scale.expm1().log()  # undoes the softplus
        return ppvae.VAE(
            priors.StandardNormal(latent),
            likelihoods.Normal(decoder, scale=self.noise),
            posteriors.DiagonalNormal(encoder),
        ).to(dtype)

    @property
    def marginal(self):
        features = len(self.offset)
        covariance = self.loadings @ self.loadings.T + self.noise**2 * torch.eye(features).double()
        return MultivariateNormal(self.offset, covariance)

    def draw(self, rows, seed):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(rows, len(self.offset), generator=generator, dtype=torch.float64)
        return self.offset + noise @ self.marginal.scale_tril.T

    def guide(self, x):
        return MultivariateNormal(
            x @ self.slope.T + self.intercept, scale_tril=torch.diag(self.scale)
        )

    def posterior(self, x):
        latent = self.loadings.shape[1]
        precision = torch.eye(latent).double() + self.loadings.T @ self.loadings / self.noise**2
        covariance = torch.linalg.inv(precision)
        loc = (x - self.offset) @ self.loadings @ covariance / self.noise**2
        return MultivariateNormal(loc, covariance)

    def terms(self, x):
        """Every term of formula (2) per datapoint, in closed form."""
        guide = self.guide(x)
        latent = self.loadings.shape[1]
        prior = MultivariateNormal(torch.zeros(latent).double(), torch.eye(latent).double())
        kl = kl_divergence(guide, prior)
        posterior_kl = kl_divergence(guide, self.posterior(x))
        log_evidence = self.marginal.log_prob(x)
        residual = x - self.offset - guide.loc @ self.loadings.T
        spread = ((self.loadings * self.scale) ** 2).sum()
        reconstruction = (
            -0.5 * x.shape[1] * math.log(2 * math.pi * self.noise**2)
            - 0.5 * (residual.square().sum(-1) + spread) / self.noise**2
        )
        return {
            "reconstruction": reconstruction,
            "kl": kl,
            "elbo": reconstruction - kl,
            "log_evidence": log_evidence,
            "posterior_kl": posterior_kl,
        }

    def expected(self):
        """The expectation of the terms over x ~ p(x)."""
        covariance = self.marginal.covariance_matrix
        posterior = self.posterior(self.offset)
        slope = self.loadings.T / self.noise**2
        difference = self.slope - posterior.covariance_matrix @ slope
        shift = self.slope @ self.offset + self.intercept - posterior.loc
        precision = posterior.precision_matrix
        log_evidence = -self.marginal.entropy()
        at_offset = kl_divergence(self.guide(self.offset), posterior)
        centered = at_offset - 0.5 * shift @ precision @ shift
        quadratic = 0.5 * (
            torch.trace(precision @ difference @ covariance @ difference.T)
            + shift @ precision @ shift
        )
        posterior_kl = centered + quadratic
        return {"elbo": log_evidence - posterior_kl, "posterior_kl": posterior_kl}
