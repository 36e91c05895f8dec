"""Pairs whose guide is the posterior, with data simulated from their model: all is well.

Each has `simulate(rows, seed)`, a batch of the model's data, and `log_evidence(*batch)`.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch.distributions import MultivariateNormal, Poisson


def standard(*shape, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)


def drawn(distribution, rows, seed):
    """Draw rows without a trace in the random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return distribution.sample((rows,))


class LinearGaussian:
    """z ~ N(0, I), x | z ~ N(W z, noise^2 I), the guide with its full covariance.

    Args:
        latent: number of latents.
        features: number of features.
        noise: their standard deviation given z.
        dtype: of everything.
        shift: added to the prior's mean that the model states, without changing data or guide.
        scale: what the prior's standard deviation that the model states is multiplied by.
    """

    def __init__(
        self, latent=2, features=5, noise=1.0, dtype=torch.float32, *, shift=0.0, scale=1.0
    ):
        self.noise, self.dtype, self.prior = noise, dtype, (shift, scale)
        self.loadings = standard(features, latent, seed=0, dtype=dtype)
        precision = torch.eye(latent).double() + self.squares().sum(0) / noise**2
        self.covariance = torch.linalg.inv(precision)
        self.scale_tril = torch.linalg.cholesky(self.covariance).to(dtype)
        self.slope = (self.covariance @ self.loadings.double().T / noise**2).to(dtype)

    def squares(self):
        """W_i W_i^T of each feature."""
        loadings = self.loadings.double()
        return loadings[:, :, None] * loadings[:, None]

    def model(self, x):
        with pyro.plate("data", len(x)):
            loc = x.new_full((self.loadings.shape[1],), self.prior[0])
            z = pyro.sample("z", dist.Normal(loc, self.prior[1]).to_event(1))
            pyro.sample("x", dist.Normal(z @ self.loadings.T, self.noise).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            posterior = dist.MultivariateNormal(x @ self.slope.T, scale_tril=self.scale_tril)
            pyro.sample("z", posterior)

    @property
    def marginal(self):
        loadings = self.loadings.double()
        noise = self.noise**2 * torch.eye(len(loadings)).double()
        return MultivariateNormal(
            torch.zeros(len(loadings)).double(), loadings @ loadings.T + noise
        )

    def simulate(self, rows, seed):
        return drawn(self.marginal, rows, seed).to(self.dtype)

    def log_evidence(self, x):
        return self.marginal.log_prob(x.double())


class MaskedLinearGaussian(LinearGaussian):
    """The same, two fifths of the features missing at random."""

    def model(self, x, seen):
        features, latent = self.loadings.shape
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(latent), 1.0).to_event(1))
            loc = (z @ self.loadings.T).squeeze(-2)
            with pyro.plate("feature", features, dim=-1), pyro.poutine.mask(mask=seen):
                pyro.sample("x", dist.Normal(loc, self.noise), obs=x)

    def guide(self, x, seen):
        eye = torch.eye(self.loadings.shape[1]).double()
        precision = (
            eye + torch.einsum("nf,fij->nij", seen.double(), self.squares()) / self.noise**2
        )
        seen_values = torch.where(seen, x, 0.0).double() @ self.loadings.double() / self.noise**2
        loc = torch.linalg.solve(precision, seen_values).to(x.dtype)
        covariance = torch.linalg.inv(precision).to(x.dtype)
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("z", dist.MultivariateNormal(loc[:, None], covariance[:, None]))

    def simulate(self, rows, seed):
        x = super().simulate(rows, seed)
        return x, standard(*x.shape, seed=seed + 10**6) > -0.25

    def log_evidence(self, x, seen):
        covariance = self.marginal.covariance_matrix
        values = []
        for row, mask in zip(x.double(), seen, strict=True):
            inner = covariance[mask][:, mask]
            zero = row.new_zeros(len(inner))
            values.append(
                MultivariateNormal(zero, inner).log_prob(row[mask]) if len(inner) else zero.sum()
            )
        return torch.stack(values)


class TwoObservedSites(LinearGaussian):
    """The same, the features at two observed sites."""

    def model(self, x, y):
        split = x.shape[1]
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.loadings.shape[1]), 1.0).to_event(1))
            loc = z @ self.loadings.T
            pyro.sample("x", dist.Normal(loc[..., :split], self.noise).to_event(1), obs=x)
            pyro.sample("y", dist.Normal(loc[..., split:], self.noise).to_event(1), obs=y)

    def guide(self, x, y):
        super().guide(torch.cat([x, y], -1))

    def simulate(self, rows, seed):
        both = super().simulate(rows, seed)
        return both[:, :2].clone(), both[:, 2:].clone()

    def log_evidence(self, x, y):
        return super().log_evidence(torch.cat([x, y], -1))


class GammaPoisson:
    """z ~ Gamma(a, b), n counts x_i | z ~ Poisson(z)."""

    def __init__(self, concentration=2.0, rate=1.0, features=5):
        self.concentration, self.rate, self.features = concentration, rate, features

    def model(self, x):
        with pyro.plate("data", len(x)):
            prior = dist.Gamma(x.new_tensor(self.concentration), self.rate)
            z = pyro.sample("z", prior)
            pyro.sample(
                "x", dist.Poisson(z[..., None].expand(*z.shape, self.features)).to_event(1), obs=x
            )

    def guide(self, x):
        with pyro.plate("data", len(x)):
            posterior = dist.Gamma(self.concentration + x.sum(-1), self.rate + self.features)
            pyro.sample("z", posterior)

    def simulate(self, rows, seed):
        z = drawn(dist.Gamma(self.concentration, self.rate), rows, seed)
        return drawn(Poisson(z[:, None].expand(-1, self.features)), 1, seed + 10**6)[0]

    def log_evidence(self, x):
        a, b, n, total = self.concentration, self.rate, self.features, x.double().sum(-1)
        before = a * math.log(b) - math.lgamma(a)
        after = torch.lgamma(a + total) - (a + total) * math.log(b + n)
        return before + after - torch.lgamma(x.double() + 1).sum(-1)


class BetaBinomial:
    """z ~ Beta(a, b), x | z ~ Binomial(n, z)."""

    def __init__(self, first=2.0, second=3.0, count=20):
        self.first, self.second, self.count = first, second, count

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Beta(x.new_tensor(self.first), self.second))
            pyro.sample("x", dist.Binomial(self.count, z), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Beta(self.first + x, self.second + self.count - x))

    def simulate(self, rows, seed):
        z = drawn(dist.Beta(self.first, self.second), rows, seed)
        return drawn(dist.Binomial(self.count, z), 1, seed + 10**6)[0]

    def log_evidence(self, x):
        marginal = dist.BetaBinomial(
            torch.tensor(self.first).double(), torch.tensor(self.second).double(), self.count
        )
        return marginal.log_prob(x.double())


class DirichletMultinomial:
    """z ~ Dirichlet(a, ..., a) of k categories, x | z ~ Multinomial(n, z)."""

    def __init__(self, categories=3, concentration=1.0, count=30):
        self.concentration = torch.full((categories,), concentration)
        self.count = count

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Dirichlet(self.concentration))
            pyro.sample("x", dist.Multinomial(self.count, z), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Dirichlet(self.concentration + x))

    def simulate(self, rows, seed):
        z = drawn(dist.Dirichlet(self.concentration), rows, seed)
        return drawn(dist.Multinomial(self.count, z), 1, seed + 10**6)[0]

    def log_evidence(self, x):
        marginal = dist.DirichletMultinomial(self.concentration.double(), self.count)
        return marginal.log_prob(x.double())


PAIRS = {
    "2 latents": lambda: LinearGaussian(2, 5),
    "10 latents": lambda: LinearGaussian(10, 30),
    "10 latents, weak": lambda: LinearGaussian(10, 30, 8.0),
    "10 latents, sharp": lambda: LinearGaussian(10, 30, 0.1),
    "30 latents": lambda: LinearGaussian(30, 60),
    "float64": lambda: LinearGaussian(2, 5, dtype=torch.float64),
    "masked": lambda: MaskedLinearGaussian(2, 5),
    "two observed sites": lambda: TwoObservedSites(2, 5),
    "Gamma-Poisson": GammaPoisson,
    "Gamma-Poisson, small rates": lambda: GammaPoisson(2.0, 100.0, 50),
    "Beta-binomial": BetaBinomial,
    "Beta-binomial, narrow": lambda: BetaBinomial(30.0, 30.0, 20),
    "Dirichlet-multinomial": DirichletMultinomial,
    "Dirichlet-multinomial of 20": lambda: DirichletMultinomial(20, 1.0, 50),
}
