"""Two latent sites, the second in a plate within the data's."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import torch

from benchmarks.trust.exact import Pair, Right
from benchmarks.trust.quadrature import line

COUNT = 4


class Nested(Pair):
    """u ~ N(0, 1), w_j | u ~ N(u, between), x_j | w_j; `conditional(w)` is p(x_j | w_j)."""

    shape = (COUNT,)
    between = 0.7

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            u = pyro.sample("u", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("inner", COUNT, dim=-1):
                w = pyro.sample("w", dist.Normal(u, self.between))
                pyro.sample("x", self.conditional(w), obs=x)

    def guide(self, x):
        center = self.guess(x)
        loc = center.mean(-1, keepdim=True)
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("u", dist.Normal(0.8 * loc, 0.35))
            with pyro.plate("inner", COUNT, dim=-1):
                pyro.sample("w", dist.Normal(0.6 * center + 0.3 * loc, 0.4))


class NestedNormal(Nested):
    """x_j | w_j ~ N(w_j, 0.7)."""

    noise = 0.7

    def conditional(self, w):
        return dist.Normal(w, self.noise)

    def guess(self, x):
        return x

    def right(self, x):
        eye = torch.eye(COUNT).double()
        ones = torch.ones(COUNT, COUNT).double()
        among = ones + self.between**2 * eye
        marginal = among + self.noise**2 * eye
        log_evidence = dist.MultivariateNormal(torch.zeros(COUNT).double(), marginal).log_prob(x)
        # (u, w) and x are jointly normal.
        shared = torch.cat([torch.ones(1, COUNT).double(), among])
        gain = torch.linalg.solve(marginal, shared.T).T
        before = torch.cat([torch.ones(1).double(), among.diagonal()])
        sd = (before - (gain * shared).sum(1)).sqrt().expand(len(x), -1)
        mean = x @ gain.T
        return Right(
            log_evidence, {"u": mean[:, :1], "w": mean[:, 1:]}, {"u": sd[:, :1], "w": sd[:, 1:]}
        )


class NestedPoisson(Nested):
    """x_j | w_j ~ Poisson(exp(w_j)), integrated over w_j given u, and over u."""

    def conditional(self, w):
        return dist.Poisson(w.exp())

    def guess(self, x):
        return (x + 0.5).log()

    def right(self, x):
        u = torch.linspace(-7.0, 7.0, 561).double()
        points, weights = (
            torch.as_tensor(part) for part in np.polynomial.hermite_e.hermegauss(60)
        )
        w = u[:, None] + self.between * points
        log_weights = weights.log() - 0.5 * math.log(2 * math.pi)
        # A count's integrals are the same wherever it occurs.
        counts, place = x.unique(return_inverse=True)
        log_inner = log_weights + dist.Poisson(w.exp()).log_prob(counts[:, None, None])
        log_factor, shares = log_inner.logsumexp(-1), log_inner.softmax(-1)
        first, second = (shares * w).sum(-1), (shares * w.square()).sum(-1)
        log_joint = dist.Normal(0.0, 1.0).log_prob(u) + log_factor[place].sum(1)
        step = float(u[1] - u[0])
        outer = line(log_joint, u[:, None], step)
        inner = line(log_joint, first[place].mT, step, second[place].mT)
        return Right(
            outer.log_mass(),
            {"u": outer.mean(), "w": inner.mean()},
            {"u": outer.sd(), "w": inner.sd()},
        )


NESTED = {
    "inner plate, normal": NestedNormal,
    "inner plate, Poisson": NestedPoisson,
}
