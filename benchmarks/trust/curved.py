"""Two latents and a curved decoder: bananas, symmetric modes and kinks, by integrals in a plane.

Also funnels, whose narrow coordinates have a closed form given the wide one.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from benchmarks.trust.exact import Pair, Right, powers, regression
from benchmarks.trust.quadrature import line, plane, right_of

SIMULATIONS = 20_000


class Decoded(Pair):
    """z ~ N(0, I) of two latents, x | z ~ N(f(z), noise^2).

    Args:
        noise: of each feature.
    """

    def __init__(self, noise):
        self.noise = torch.tensor(noise).double()
        self.shape = (len(noise),)

    def conditional(self, z):
        return dist.Normal(self.decoded(z), self.noise.to(z.dtype))

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", self.conditional(z).to_event(1), obs=x)

    def right(self, x):
        def log_joint(z):
            log_prior = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
            return log_prior + self.conditional(z).log_prob(x[:, None]).sum(-1)

        return right_of(plane(log_joint, torch.linspace(-6.0, 6.0, 601).double()))


class RegressionGuide(Decoded):
    """The same with a guide N(B (1, x, x^2), sd^2), by regression on simulated data."""

    def __init__(self, noise):
        super().__init__(noise)
        drawn = self.simulated(SIMULATIONS, seed=1)
        self.coefficients, self.scale = regression(powers(drawn["x"]), drawn["z"])

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = powers(x) @ self.coefficients.to(x.dtype)
            pyro.sample("z", dist.Normal(loc, self.scale.to(x.dtype)).to_event(1))


class Banana(RegressionGuide):
    """f(z) = (z_1, z_2 + z_1^2)."""

    def decoded(self, z):
        return torch.stack([z[..., 0], z[..., 1] + z[..., 0].square()], -1)


class Kinks(RegressionGuide):
    """f is a network of ReLU with random weights."""

    def __init__(self, noise, hidden=8):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            layers = [nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, len(noise))]
            self.network = nn.Sequential(*layers).double().requires_grad_(False)
            for layer in self.network[::2]:
                nn.init.normal_(layer.weight, std=1.0)
        self.single = nn.Sequential(
            nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, len(noise))
        ).requires_grad_(False)
        self.single.load_state_dict(self.network.state_dict())
        super().__init__(noise)

    def decoded(self, z):
        return self.network(z) if z.dtype == torch.float64 else self.single(z)


class Opposite(Decoded):
    """f(z) = z_1 z_2: z and -z are equally probable, and the guide knows z_1 > 0."""

    def decoded(self, z):
        return z.prod(-1, keepdim=True)

    def guide(self, x):
        size = x.abs().clamp(min=0.05).sqrt()
        with pyro.plate("data", len(x)):
            loc = torch.cat([size, size * x.sign()], -1)
            pyro.sample("z", dist.Normal(loc, 0.4).to_event(1))


class Funnel(Pair):
    """v ~ N(0, 1.5), z_i | v ~ N(0, exp(v / 2)), x_i | z_i ~ N(z_i, noise).

    Args:
        features: number of z_i and x_i.
        noise: standard deviation of x_i given z_i.
    """

    def __init__(self, features, noise=0.5):
        self.features, self.noise, self.shape = features, noise, (features,)
        drawn = self.simulated(SIMULATIONS, seed=1)
        self.coefficients, self.scale = regression(self.design(drawn["x"]), drawn["v"][:, None])
        shrunk = (drawn["z"] * drawn["x"]).mean(0) / drawn["x"].square().mean(0)
        self.shrunk = shrunk.float()

    def design(self, x):
        size = (x.square().mean(-1, keepdim=True) + 0.1).log()
        return torch.cat([torch.ones_like(size), size, size.square()], -1)

    def model(self, x):
        with pyro.plate("data", len(x)):
            v = pyro.sample("v", dist.Normal(x.new_zeros(()), 1.5))
            scale = (v / 2).exp()[..., None].expand(*v.shape, self.features)
            z = pyro.sample("z", dist.Normal(torch.zeros_like(scale), scale).to_event(1))
            pyro.sample("x", dist.Normal(z, self.noise).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = (self.design(x) @ self.coefficients.to(x.dtype))[..., 0]
            pyro.sample("v", dist.Normal(loc, self.scale[0].to(x.dtype)))
            loc = x * self.shrunk.to(x.dtype)
            pyro.sample("z", dist.Normal(loc, 0.9 * self.noise).to_event(1))

    def right(self, x):
        v = torch.linspace(-14.0, 14.0, 2801).double()
        variance = v.exp() + self.noise**2
        marginal = dist.Normal(torch.tensor(0.0).double(), variance.sqrt()[:, None])
        log_joint = dist.Normal(0.0, 1.5).log_prob(v) + marginal.log_prob(x[:, None]).sum(-1)
        step = float(v[1] - v[0])
        wide = line(log_joint, v[:, None], step)
        shrunk = v.exp() / variance
        means = shrunk[:, None] * x[:, None]
        second = means.square() + (shrunk * self.noise**2)[:, None]
        narrow = line(log_joint, means, step, second)
        return Right(
            wide.log_mass(),
            {"v": wide.mean(), "z": narrow.mean()},
            {"v": wide.sd(), "z": narrow.sd()},
        )


CURVED = {
    "banana": lambda: Banana([1.0, 0.3]),
    "thin banana": lambda: Banana([2.0, 0.1]),
    "z and -z": lambda: Opposite([0.3]),
    "ReLU kinks": lambda: Kinks([0.5, 0.5, 0.5]),
    "funnel 2-d": lambda: Funnel(1),
    "funnel 10-d": lambda: Funnel(9),
}
