"""A latent on the sphere: von Mises-Fisher prior and likelihood, which are conjugate."""

import math

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import constraints

from benchmarks.trust.exact import Pair, Right
from ppvae import distributions


def log_normalizer(concentration):
    """Return log k / (4 pi sinh k)."""
    log_sinh = concentration + torch.log1p(-(-2 * concentration).exp()) - math.log(2)
    return concentration.log() - math.log(4 * math.pi) - log_sinh


class VonMisesFisher(dist.TorchDistribution):
    """p(z) = k / (4 pi sinh k) exp(k loc.z) on the unit sphere of three dimensions."""

    arg_constraints = {  # noqa: RUF012
        "loc": constraints.sphere,
        "concentration": constraints.positive,
    }
    support = constraints.sphere

    def __init__(self, loc, concentration, validate_args=None):
        self.loc = loc
        self.concentration = torch.as_tensor(concentration, dtype=loc.dtype).expand(loc.shape[:-1])
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        shape = torch.Size(batch_shape)
        return VonMisesFisher(self.loc.expand(*shape, 3), self.concentration.expand(shape))

    def log_prob(self, value):
        along = (self.loc * value).sum(-1)
        return self.concentration * along + log_normalizer(self.concentration)

    def sample(self, sample_shape=torch.Size()):  # noqa: B008
        """Invert the distribution function of loc.z; the direction across is uniform."""
        shape = self._extended_shape(sample_shape)
        k = self.concentration
        u = torch.rand(shape[:-1], dtype=self.loc.dtype)
        along = (1 + (u + (1 - u) * (-2 * k).exp()).log() / k).clamp(-1, 1)[..., None]
        noise = torch.randn(shape, dtype=self.loc.dtype)
        across = torch.nn.functional.normalize(
            noise - (noise * self.loc).sum(-1, keepdim=True) * self.loc, dim=-1
        )
        return along * self.loc + (1 - along.square()).clamp(min=0).sqrt() * across


class Sphere(Pair):
    """z ~ vMF(north, 1), two x_i | z ~ vMF(z, 4); the guide is power spherical, a little off."""

    prior, noise, count = 1.0, 4.0, 2
    shape = (2, 3)

    def model(self, x):
        north = x.new_tensor([0.0, 0.0, 1.0])
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", VonMisesFisher(north, self.prior))
            loc = z[..., None, :].expand(*z.shape[:-1], self.count, 3)
            pyro.sample("x", VonMisesFisher(loc, self.noise).to_event(1), obs=x)

    def guide(self, x):
        direction = self.noise * x.sum(-2) + x.new_tensor([0.0, 0.7, self.prior])
        length = direction.norm(dim=-1, keepdim=True)
        with pyro.plate("data", len(x)):
            guess = distributions.PowerSpherical(direction / length, 2.5 * length[..., 0])
            pyro.sample("z", guess)

    def right(self, x):
        total = self.noise * x.sum(-2) + x.new_tensor([0.0, 0.0, self.prior])
        k = total.norm(dim=-1)
        given = torch.tensor([self.prior, self.noise]).double()
        before = log_normalizer(given)
        log_evidence = before[0] + self.count * before[1] - log_normalizer(k)
        along = 1 / k.tanh() - 1 / k
        loc = total / k[:, None]
        # E[z z^T] = (a / k) I + (1 - 3 a / k) loc loc^T with a = E[loc.z]
        second = (along / k)[:, None] + (1 - 3 * along / k)[:, None] * loc.square()
        mean = along[:, None] * loc
        return Right(log_evidence, {"z": mean}, {"z": (second - mean.square()).sqrt()})


SPHERE = {"sphere, power spherical guide": Sphere}
