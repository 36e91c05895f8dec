"""Pairs in plain Pyro, as users write them, each with log p(x) in closed form.

All are one-dimensional chains of normals, or mixtures of them, that a hand can integrate.
"""

import math

import pyro
import pyro.distributions as dist
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal, Normal


def marginal_normal(x, variance):
    """log N(x; 0, variance) of each row."""
    return Normal(0.0, torch.tensor(variance, dtype=x.dtype).sqrt()).log_prob(x)


class TwoLatents:
    """a ~ N(0, 1), b | a ~ N(a, 1), x | b ~ N(b, 1): x ~ N(0, 3); no nn.Module.

    The guide is the exact posterior, bottom-up: b first, then a given b.
    """

    def model(self, x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("odd name", dist.Normal(x.new_zeros(()), 1.0))
            b = pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("seen", dist.Normal(b, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Normal(x * 2 / 3, math.sqrt(2 / 3)))
            pyro.sample("odd name", dist.Normal(b / 2, math.sqrt(1 / 2)))

    def log_evidence(self, x):
        return marginal_normal(x, 3.0)


class TopDown(TwoLatents):
    """The same, the guide drawing a first: the KL is a sum of closed forms along the chain."""

    def guide(self, x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("odd name", dist.Normal(x / 3, math.sqrt(2 / 3)))
            pyro.sample("b", dist.Normal((a + x) / 2, math.sqrt(1 / 2)))


class Ignored:
    """z ~ N(0, 1), and x ~ N(0, 1) without z: the guide knows nothing, and has no parameters."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(x.new_zeros(()), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))


class PlateNotRightmost:
    """z ~ N(0, 1), x_t | z ~ N(z, 1) for 3 times in a plate right of the data plate."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("time", x.shape[1], dim=-1):
                pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            precision = 1 + x.shape[1]
            loc = x.sum(1, keepdim=True) / precision
            pyro.sample("z", dist.Normal(loc, precision**-0.5))

    def log_evidence(self, x):
        times = x.shape[1]
        covariance = torch.eye(times, dtype=x.dtype) + torch.ones(times, times, dtype=x.dtype)
        return MultivariateNormal(torch.zeros(times, dtype=x.dtype), covariance).log_prob(x)


class MaskedLoop:
    """z ~ N(0, 1) and a loop over times of which a mask hides some: only seen ones count."""

    def model(self, x, seen):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            for time in range(x.shape[1]):
                with pyro.poutine.mask(mask=seen[:, time]):
                    pyro.sample(f"x_{time}", dist.Normal(z, 1.0), obs=x[:, time])

    def guide(self, x, seen):
        with pyro.plate("data", len(x)):
            precision = 1 + seen.sum(1)
            pyro.sample("z", dist.Normal((x * seen).sum(1) / precision, precision.rsqrt()))

    def log_evidence(self, x, seen):
        rows = []
        for row, mask in zip(x, seen, strict=True):
            values = row[mask]
            n = len(values)
            covariance = torch.eye(n, dtype=x.dtype) + torch.ones(n, n, dtype=x.dtype)
            zero = torch.zeros(n, dtype=x.dtype)
            rows.append(MultivariateNormal(zero, covariance).log_prob(values) if n else zero.sum())
        return torch.stack(rows)


class Marginalized:
    """k in {0, 1}, z | k ~ N(+-2, 1), x | z ~ N(z, 1); the guide knows no k."""

    weights = (0.3, 0.7)
    locs = (-2.0, 2.0)

    def model(self, x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Categorical(x.new_tensor(self.weights)))
            z = pyro.sample("z", dist.Normal(x.new_tensor(self.locs)[k], 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        # The exact posterior: p(k|x), and N((x + loc_k) / 2, 1/2) given k, k integrated out.
        with pyro.plate("data", len(x)):
            components = Normal(x.new_tensor(self.locs), math.sqrt(2))
            log_odds = components.log_prob(x[:, None]) + x.new_tensor(self.weights).log()
            locs = (x[:, None] + x.new_tensor(self.locs)) / 2
            pyro.sample(
                "z",
                dist.MixtureSameFamily(
                    dist.Categorical(logits=log_odds), dist.Normal(locs, math.sqrt(0.5))
                ),
            )

    def log_evidence(self, x):
        mixture = MixtureSameFamily(
            Categorical(x.new_tensor(self.weights)),
            Normal(x.new_tensor(self.locs), math.sqrt(2)),
        )
        return mixture.log_prob(x)


class SampledDiscrete(Marginalized):
    """The same, the guide drawing k too: exactly p(k|x) p(z|x, k)."""

    def guide(self, x):
        with pyro.plate("data", len(x)):
            components = Normal(x.new_tensor(self.locs), math.sqrt(2))
            log_odds = components.log_prob(x[:, None]) + x.new_tensor(self.weights).log()
            k = pyro.sample("k", dist.Categorical(logits=log_odds))
            loc = x.new_tensor(self.locs)[k]
            pyro.sample("z", dist.Normal((x + loc) / 2, math.sqrt(0.5)))


class OneBatchDimension(nn.Module):
    """A decoder that flattens what it is given: wrong, without an error, on two dimensions."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            loc = z.reshape(-1)[: len(x), None]
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, math.sqrt(0.5)).to_event(1))

    def log_evidence(self, x):
        return marginal_normal(x[:, 0], 2.0)


class RefusesTwo(OneBatchDimension):
    """A decoder that fails on more than one batch dimension."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            if z.dim() != 2:
                raise RuntimeError("expected 2 dimensions")
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


class FixedPlate(OneBatchDimension):
    """A subsampled plate whose sizes are written down."""

    def model(self, x):
        with pyro.plate("data", 640, subsample_size=64):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", 640, subsample_size=64):
            pyro.sample("z", dist.Normal(x / 2, math.sqrt(0.5)).to_event(1))
