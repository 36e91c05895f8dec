"""A factor analysis with missing features, masked in two ways; its guide is the posterior."""

import pyro
import pyro.distributions as dist
import torch

FEATURES, LATENTS, NOISE = 6, 2, 0.5
LOADINGS = torch.randn(LATENTS, FEATURES, generator=torch.Generator().manual_seed(0))


def drawn(rows, missing=0.4, seed=1):
    """Data with the share `missing` filled with 0, and which are seen."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, LATENTS, generator=generator)
    x = z @ LOADINGS + NOISE * torch.randn(rows, FEATURES, generator=generator)
    seen = torch.rand(rows, FEATURES, generator=generator) >= missing
    return x.masked_fill(~seen, 0.0), seen


def posterior(x, seen):
    """Mean and precision matrix of p(z|x) given the features that are seen."""
    kept = seen.to(x)
    precision = torch.einsum("kd,nd,ld->nkl", LOADINGS, kept, LOADINGS) / NOISE**2
    precision = precision + torch.eye(LATENTS)
    shift = (x * kept) @ LOADINGS.T / NOISE**2
    return torch.linalg.solve(precision, shift), precision


class Within:
    """The mask stands within the distribution: `.mask(seen).to_event(1)`."""

    def model(self, x, seen):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(LATENTS), 1.0).to_event(1))
            pyro.sample("x", self.likelihood(z @ LOADINGS, seen, x), obs=x)

    def likelihood(self, loc, seen, x):
        return dist.Normal(loc, NOISE).mask(seen).to_event(1)

    def guide(self, x, seen):
        loc, precision = posterior(x, seen)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision))


class Around(Within):
    """The mask stands around a plate over the features: `poutine.mask`."""

    def model(self, x, seen):
        with pyro.plate("data", len(x), dim=-2):
            zero = torch.zeros(len(x), 1, LATENTS)
            z = pyro.sample("z", dist.Normal(zero, 1.0).to_event(1))
            with pyro.plate("feature", FEATURES, dim=-1), pyro.poutine.mask(mask=seen):
                pyro.sample("x", dist.Normal((z @ LOADINGS).squeeze(-2), NOISE), obs=x)

    def guide(self, x, seen):
        loc, precision = posterior(x, seen)
        normal = dist.MultivariateNormal(loc[:, None], precision_matrix=precision[:, None])
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", normal)
