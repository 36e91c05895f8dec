"""Posteriors that factorize after a rotation: integrals over a line give what is right."""

import math

import pyro
import pyro.distributions as dist
import torch

from benchmarks.trust.exact import Pair, Right, generator
from benchmarks.trust.quadrature import line

AXIS = torch.linspace(-8.0, 8.0, 6401).double()


class Turned(Pair):
    """z ~ N(R m, I), s = R^T z, x_i | s_i: the s_i are independent given x.

    `conditional(s)` is p(x|s), a distribution of independent features.

    Args:
        latent: number of latents.
        first: mean of s_1; those of the others are zero.
    """

    def __init__(self, latent, first=0.0):
        noise = torch.randn(latent, latent, generator=generator(0), dtype=torch.float64)
        self.rotation = torch.linalg.qr(noise).Q
        self.loc = torch.zeros(latent).double()
        self.loc[0] = first
        self.latent, self.shape = latent, (latent,)

    def model(self, x):
        turn = self.rotation.to(x.dtype)
        with pyro.plate("data", len(x)):
            prior = dist.Normal(self.loc.to(x.dtype) @ turn.T, 1.0).to_event(1)
            s = pyro.sample("z", prior) @ turn
            pyro.sample("x", self.conditional(s).to_event(1), obs=x)

    def turned_normal(self, loc, scale):
        """Return the distribution of z if s is normal with independent components."""
        turn = self.rotation.to(loc.dtype)
        covariance = turn @ torch.diag(scale**2) @ turn.T
        return dist.MultivariateNormal(loc @ turn.T, covariance)

    def right(self, x):
        s = AXIS[:, None].expand(-1, self.latent)
        log_prior = dist.Normal(self.loc, 1.0).log_prob(s)
        log_joint = log_prior + self.conditional(s).log_prob(x[:, None])
        step = float(AXIS[1] - AXIS[0])
        found = [line(log_joint[..., i], AXIS[:, None], step) for i in range(self.latent)]
        means = torch.cat([part.mean() for part in found], 1)
        variances = torch.cat([part.sd().square() for part in found], 1)
        return Right(
            sum(part.log_mass() for part in found),
            {"z": means @ self.rotation.T},
            {"z": (variances @ self.rotation.T.square()).sqrt()},
        )


class StudentNoise(Turned):
    """x_i | s_i ~ StudentT(2, s_i, 0.3): outliers have two modes; the guide believes all x."""

    def conditional(self, s):
        return dist.StudentT(2.0, s, 0.3)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = 0.85 * x @ self.rotation.T.to(x.dtype)
            pyro.sample("z", dist.Normal(loc, 0.35).to_event(1))


class OneOfTwo(Turned):
    """x_1 | s_1 ~ N(3 |s_1|, 0.3), the others N(s_i, 0.5); the guide knows s_1 > 0 alone."""

    def __init__(self, latent):
        super().__init__(latent, first=0.3)
        self.noise = torch.full((latent,), 0.5).double()
        self.noise[0] = 0.3
        self.slope = torch.ones(latent).double()
        self.slope[0] = 3.0

    def conditional(self, s):
        loc = torch.cat([3 * s[..., :1].abs(), s[..., 1:]], -1)
        return dist.Normal(loc, self.noise.to(s.dtype))

    def guide(self, x):
        precision = 1 + (self.slope / self.noise) ** 2
        gain = self.slope / self.noise**2 / precision
        loc = x * gain.to(x.dtype) + (self.loc / precision).to(x.dtype)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.turned_normal(loc, precision.rsqrt().to(x.dtype)))


class NearlyFlat(Turned):
    """x_i | s_i ~ Bernoulli(logits = s_i / 5), which tells next to nothing; a narrow guide."""

    def conditional(self, s):
        return dist.Bernoulli(logits=s / 5)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = x.new_full((len(x), self.latent), 0.2)
            pyro.sample("z", dist.Normal(loc, 0.75).to_event(1))


class StudentPrior(Pair):
    """z_i ~ StudentT(3), x_i | z_i ~ Binomial(4, logits = z_i): a tail where x_i is 0 or 4."""

    def __init__(self, latent=3):
        self.latent, self.shape = latent, (latent,)

    def model(self, x):
        with pyro.plate("data", len(x)):
            prior = dist.StudentT(x.new_full((self.latent,), 3.0), 0.0, 1.0).to_event(1)
            z = pyro.sample("z", prior)
            pyro.sample("x", dist.Binomial(4, logits=z).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.6 * (x - 2), 0.9).to_event(1))

    def right(self, x):
        place = torch.linspace(-14.0, 14.0, 5601).double()
        z, log_slope = place.sinh(), place.cosh().log()
        log_prior = dist.StudentT(torch.tensor(3.0).double(), 0.0, 1.0).log_prob(z)
        log_success, log_failure = -torch.log1p((-z).exp()), -torch.log1p(z.exp())
        log_failure = torch.where(z > 30, -z, log_failure)
        log_success = torch.where(z < -30, z, log_success)
        k = x[..., None]
        log_choices = math.lgamma(5) - torch.lgamma(k + 1) - torch.lgamma(5 - k)
        log_joint = log_choices + k * log_success + (4 - k) * log_failure + log_prior + log_slope
        step = float(place[1] - place[0])
        parts = [line(log_joint[:, i], z[:, None], step) for i in range(self.latent)]
        return Right(
            sum(part.log_mass() for part in parts),
            {"z": torch.cat([part.mean() for part in parts], 1)},
            {"z": torch.cat([part.sd() for part in parts], 1)},
        )


TURNED = {
    "Student-t prior": StudentPrior,
    "Student-t noise": lambda: StudentNoise(5),
    "two modes, guide knows one": lambda: OneOfTwo(1),
    "two modes in 4-d, guide knows one": lambda: OneOfTwo(4),
    "two modes in 10-d, guide knows one": lambda: OneOfTwo(10),
    "nearly flat": lambda: NearlyFlat(10),
}
