"""Linear-Gaussian pairs, whose posterior is a correlated normal."""

import pyro
import pyro.distributions as dist
import torch
from torch.distributions import MultivariateNormal

from benchmarks.trust.exact import Pair, Right


class LinearGaussian(Pair):
    """z ~ N(0, I), x | z ~ N(W z, I), the posterior N(A x, C) with C_ij ~ correlation^|i - j|.

    The guide N(A x + shift, scale^2 C) is exact unless the arguments name a fault.

    Args:
        latent: number of latents.
        correlation: of neighbors.
        factorized: let the guide be the best normal without correlations.
        shift: of the guide's mean, in posterior standard deviations.
        scale: what the guide's standard deviations are multiplied by.
    """

    def __init__(self, latent, correlation=0.9, *, factorized=False, shift=0.0, scale=1.0):
        place = torch.arange(latent).double()
        covariance = correlation ** (place[:, None] - place).abs()
        self.covariance = 0.9 * covariance / torch.linalg.eigvalsh(covariance)[-1]
        precision = torch.linalg.inv(self.covariance)
        eye = torch.eye(latent).double()
        self.loadings = torch.linalg.cholesky(precision - eye).T
        self.slope = self.covariance @ self.loadings.T
        self.offset = shift * self.covariance.diagonal().sqrt()
        self.factorized = factorized
        self.scale = scale * precision.diagonal().rsqrt()
        self.scale_tril = scale * torch.linalg.cholesky(self.covariance)
        self.latent, self.shape = latent, (latent,)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.latent), 1.0).to_event(1))
            loc = z @ self.loadings.T.to(x.dtype)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        loc = x @ self.slope.T.to(x.dtype) + self.offset.to(x.dtype)
        if self.factorized:
            posterior = dist.Normal(loc, self.scale.to(x.dtype)).to_event(1)
        else:
            posterior = dist.MultivariateNormal(loc, scale_tril=self.scale_tril.to(x.dtype))
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior)

    def right(self, x):
        covariance = torch.eye(self.latent).double() + self.loadings @ self.loadings.T
        marginal = MultivariateNormal(torch.zeros(self.latent).double(), covariance)
        means = x @ self.slope.T
        sds = self.covariance.diagonal().sqrt().expand_as(means)
        return Right(marginal.log_prob(x), {"z": means}, {"z": sds})


NORMALS = {
    "normal 2-d, exact guide": lambda: LinearGaussian(2),
    "normal 10-d, exact guide": lambda: LinearGaussian(10),
    "normal 2-d, factorized": lambda: LinearGaussian(2, factorized=True),
    "normal 10-d, factorized": lambda: LinearGaussian(10, factorized=True),
    "normal 50-d, factorized": lambda: LinearGaussian(50, 0.7, factorized=True),
    "normal 5-d, guide off by 2 sd": lambda: LinearGaussian(5, shift=2.0),
    "normal 5-d, guide a third as wide": lambda: LinearGaussian(5, scale=1 / 3),
}
