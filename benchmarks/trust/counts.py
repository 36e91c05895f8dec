"""Conjugate pairs with latents on the half line, the unit interval and the simplex."""

import math

import pyro
import pyro.distributions as dist
import torch

from benchmarks.trust.exact import Pair, Right, powers, regression

SIMULATIONS = 20_000


def gamma_right(log_evidence, concentration, rate):
    mean = (concentration / rate)[:, None]
    return Right(log_evidence, {"z": mean}, {"z": (concentration.sqrt() / rate)[:, None]})


def log_gamma_ratio(a, b, shape, rate):
    """Return the log of the normalizers' ratio of Gamma(a, b) and Gamma(shape, rate)."""
    before = a * math.log(b) - math.lgamma(a)
    return before + torch.lgamma(shape) - shape * torch.as_tensor(rate).double().log()


class GammaPoisson(Pair):
    """z ~ Gamma(a, b), counts x_i | z ~ Poisson(z); the guide is exact, or LogNormal.

    Args:
        concentration: a; the posterior is skewed where it is small.
        rate: b.
        features: number of counts.
        exact_guide: whether the guide is the posterior.
    """

    def __init__(self, concentration, rate, features, *, exact_guide):
        self.concentration, self.rate = concentration, rate
        self.features, self.shape, self.exact_guide = features, (features,), exact_guide

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(x.new_tensor(self.concentration), self.rate))
            rates = z[..., None].expand(*z.shape, self.features)
            pyro.sample("x", dist.Poisson(rates).to_event(1), obs=x)

    def guide(self, x):
        shape, rate = self.concentration + x.sum(-1), self.rate + self.features
        if self.exact_guide:
            posterior = dist.Gamma(shape, rate)
        else:
            posterior = dist.LogNormal((shape / rate).log(), shape.rsqrt())
        with pyro.plate("data", len(x)):
            pyro.sample("z", posterior)

    def right(self, x):
        shape, rate = self.concentration + x.sum(-1), float(self.rate + self.features)
        ratio = log_gamma_ratio(self.concentration, self.rate, shape, rate)
        return gamma_right(ratio - torch.lgamma(x + 1).sum(-1), shape, rate)


class Precision(Pair):
    """z ~ Gamma(a, b), x_i | z ~ N(0, 1 / sqrt(z)); the guide is LogNormal, by regression."""

    concentration, rate, features, shape = 2.0, 1.0, 3, (3,)

    def __init__(self):
        drawn = self.simulated(SIMULATIONS, seed=1)
        targets = drawn["z"].log()[:, None]
        self.coefficients, self.scale = regression(self.design(drawn["x"]), targets)

    def design(self, x):
        return powers((x.square().mean(-1, keepdim=True) + 0.1).log())

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Gamma(x.new_tensor(self.concentration), self.rate))
            scale = z.rsqrt()[..., None].expand(*z.shape, self.features)
            pyro.sample("x", dist.Normal(0.0, scale).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = (self.design(x) @ self.coefficients.to(x.dtype))[..., 0]
            pyro.sample("z", dist.LogNormal(loc, self.scale[0].to(x.dtype)))

    def right(self, x):
        rate = self.rate + x.square().sum(-1) / 2
        shape = torch.full_like(rate, self.concentration + self.features / 2)
        ratio = log_gamma_ratio(self.concentration, self.rate, shape, rate)
        return gamma_right(ratio - self.features / 2 * math.log(2 * math.pi), shape, rate)


class BetaBinomial(Pair):
    """z ~ Beta(1/2, 1/2), x | z ~ Binomial(n, z); the guide is normal in the logit.

    The posterior density is infinite at a bound where x is 0 or n.
    """

    first, second, count = 0.5, 0.5, 12

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Beta(x.new_tensor(self.first), self.second))
            pyro.sample("x", dist.Binomial(self.count, z), obs=x)

    def guide(self, x):
        a, b = self.first + x, self.second + self.count - x
        normal = dist.Normal((a / b).log(), (1 / a + 1 / b).sqrt())
        with pyro.plate("data", len(x)):
            sigmoid = dist.transforms.SigmoidTransform()
            pyro.sample("z", dist.TransformedDistribution(normal, [sigmoid]))

    def right(self, x):
        prior = torch.tensor(self.first).double()
        marginal = dist.BetaBinomial(prior, self.second, self.count)
        posterior = torch.distributions.Beta(self.first + x, self.second + self.count - x)
        mean, sd = posterior.mean[:, None], posterior.stddev[:, None]
        return Right(marginal.log_prob(x), {"z": mean}, {"z": sd})


class DirichletMultinomial(Pair):
    """z ~ Dirichlet(1, ..., 1), x | z ~ Multinomial(n, z); the guide believes half of the counts.

    Args:
        categories: number of categories.
        count: n.
    """

    def __init__(self, categories, count):
        self.categories, self.count, self.shape = categories, count, (categories,)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Dirichlet(x.new_ones(self.categories)))
            pyro.sample("x", dist.Multinomial(self.count, z), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Dirichlet(1 + x / 2))

    def right(self, x):
        ones = torch.ones(self.categories).double()
        marginal = dist.DirichletMultinomial(ones, self.count)
        posterior = torch.distributions.Dirichlet(1 + x)
        return Right(marginal.log_prob(x), {"z": posterior.mean}, {"z": posterior.stddev})


COUNTS = {
    "Gamma-Poisson, exact guide": lambda: GammaPoisson(2.0, 1.0, 5, exact_guide=True),
    "Gamma-Poisson, LogNormal guide": lambda: GammaPoisson(0.5, 1.0, 2, exact_guide=False),
    "Gamma precision, LogNormal guide": Precision,
    "Beta-Binomial, logit-normal guide": BetaBinomial,
    "Dirichlet-multinomial, wide guide": lambda: DirichletMultinomial(10, 50),
}
