"""A pair whose exact posterior is correlated, with guides of known faults."""

import pyro
import pyro.distributions as dist
import torch


class CorrelatedGaussian:
    """z ~ N(0, I) of `2 * pairs` latents, x | z ~ N(W z, I): the posterior is N(A x, C).

    C has the correlation `correlation` within each pair of latents, and none between pairs. The
    guide is exact but for the faults that the arguments name.

    Args:
        pairs: number of pairs of latents.
        shift: added to the guide's mean, in posterior standard deviations.
        scale: what the guide's standard deviations are multiplied by.
        diagonal: leave out the correlations, with the right marginals.
    """

    def __init__(self, pairs=5, *, correlation=0.8, shift=0.0, scale=1.0, diagonal=False):
        side = 2 / (1 - correlation)  # W^T W = precision - I is then positive definite
        block = side * torch.tensor([[1.0, -correlation], [-correlation, 1.0]]).double()
        precision = torch.block_diag(*[block] * pairs)
        eye = torch.eye(2 * pairs).double()
        loadings = torch.linalg.cholesky(precision - eye).T
        covariance = torch.linalg.inv(precision)
        deviations = covariance.diagonal().sqrt()
        factor = torch.diag(deviations) if diagonal else torch.linalg.cholesky(covariance)
        self.covariance = covariance
        self.loadings = loadings.float()
        self.slope = (covariance @ loadings.T).float()
        self.shift = (shift * deviations).float()
        self.scale_tril = (scale * factor).float()
        self.latents = 2 * pairs

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.latents), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.loadings.T, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = x @ self.slope.T + self.shift
            pyro.sample("z", dist.MultivariateNormal(loc, scale_tril=self.scale_tril))
