"""Linear-Gaussian pairs of two layers, of which log P(X) and the KL of each layer are known."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from ppvae import likelihoods, pairs, posteriors, priors
from ppvae.networks import First

SCALE, NOISE = 0.8, 0.6  # of z1 given z2, and of x given z1


@dataclass(frozen=True)
class LayeredGaussian:
    """z2 ~ N(0, 1), z1 | z2 ~ N(a z2, SCALE^2 I), x | z1 ~ N(W z1 + b, NOISE^2 I).

    The columns of W are orthogonal, so that both layers' posteriors are diagonal in a ladder;
    bottom-up they are where `a` has one entry.

    Args:
        upper: a, `(2,)`.
        loadings: W, `(5, 2)`.
        offset: b, `(5,)`.
    """

    upper: Tensor
    loadings: Tensor
    offset: Tensor

    @classmethod
    def random(cls, upper):
        generator = torch.Generator().manual_seed(0)
        double = {"generator": generator, "dtype": torch.float64}
        loadings = torch.linalg.qr(torch.randn(5, 2, **double)).Q * torch.tensor([1.5, 0.7])
        return cls(torch.tensor(upper).double(), loadings, torch.randn(5, **double))

    @property
    def given_lower(self):
        """The covariance of x given z2."""
        eye = torch.eye(5).double()
        return SCALE**2 * self.loadings @ self.loadings.T + NOISE**2 * eye

    @property
    def direction(self):
        """What x moves by with z2."""
        return self.loadings @ self.upper

    @property
    def collapsed(self):
        """p(x), both layers integrated out."""
        covariance = self.given_lower + torch.outer(self.direction, self.direction)
        return MultivariateNormal(self.offset, covariance)

    def draw(self, rows, seed=0):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(rows, 5, generator=generator, dtype=torch.float64)
        return self.offset + noise @ self.collapsed.scale_tril.T

    def normal_of_x(self, slope, scale):
        """q(z|x) = N(slope (x - b), scale^2) as a posterior."""
        return posteriors.DiagonalNormal(linear(slope, -slope @ self.offset, scale))

    def estimate(self):
        """Slope and scale of the likelihood of z1."""
        squares = self.loadings.square().sum(0)
        return self.loadings.T / squares[:, None], NOISE * squares.rsqrt()

    def top(self):
        """Slope and scale of p(z2 | x)."""
        weights = torch.linalg.solve(self.given_lower, self.direction)
        variance = 1 / (1 + self.direction @ weights)
        return variance * weights[None], variance.sqrt()[None]

    def ladder(self, wrong=0.0):
        """The exact ladder, or one with wrong slopes."""
        layers = [self.estimate(), self.top()]
        return self.pair(
            pairs.Ladder(
                [nn.Identity(), nn.Identity()],
                [self.normal_of_x(slope + wrong, scale) for slope, scale in layers],
            )
        )

    def bottom_up(self, wrong=0.0):
        """The posterior from below: exact if `upper` has one entry."""
        prior = SCALE**2 + self.upper.square()
        squares = self.loadings.square().sum(0)
        variance = 1 / (1 / prior + squares / NOISE**2)
        slope = variance[:, None] * self.loadings.T / NOISE**2
        above = 1 / (1 + self.upper.square().sum() / SCALE**2)
        upwards = linear(above * self.upper[None] / SCALE**2, torch.zeros(1), above.sqrt()[None])
        lower = self.normal_of_x(slope + wrong, variance.sqrt())
        return self.pair(pairs.BottomUp([lower, posteriors.DiagonalNormal(First(upwards))]))

    def pair(self, posterior):
        prior = linear(self.upper[:, None], torch.zeros(2), torch.full((2,), SCALE))
        decoder = nn.Linear(2, 5)
        with torch.no_grad():
            decoder.double()
            decoder.weight.copy_(self.loadings)
            decoder.bias.copy_(self.offset)
        return pairs.HierarchicalVAE(
            [priors.ConditionalNormal(prior), priors.StandardNormal(1)],
            likelihoods.Normal(First(decoder), scale=NOISE),
            posterior,
        ).double()

    def ladder_kl(self, x, wrong=0.0):
        """The KL of z1 and z2 for each datapoint, `(2, data)`, of `ladder(wrong)`."""
        (lower, scale), (above, above_scale) = self.estimate(), self.top()
        estimate = (x - self.offset) @ (lower + wrong).T
        loc = (x - self.offset) @ (above + wrong).T
        variance = above_scale**2
        top = 0.5 * (variance + loc**2 - 1 - variance.log()).sum(-1)
        share = SCALE**2 / (SCALE**2 + scale**2)
        ratio = share * scale**2 / SCALE**2  # of the variances of posterior and prior
        moved = (estimate - loc * self.upper) ** 2 + variance * self.upper**2
        first = ratio + share**2 * moved / SCALE**2 - 1 - ratio.log()
        return torch.stack([0.5 * first.sum(-1), top])


def linear(slope, intercept, scale):
    """A layer that gives a normal's loc and the raw scale of a constant one."""
    size, inputs = slope.shape
    layer = nn.Linear(inputs, 2 * size).double()
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[:size] = slope
        layer.bias[:size] = intercept
        layer.bias[size:] = scale.double().expm1().log()  # undoes the softplus
    return layer
