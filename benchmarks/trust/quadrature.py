"""The trapezoidal rule on grids, at two resolutions that have to agree."""

import math

import torch

from benchmarks.trust.exact import Right

NATS, SHARE = 2e-3, 5e-3
"""By how much log P(X), and means in standard deviations, may change if the step is halved."""


class Moments:
    """The mass of a density over points of equal volume, and the moments of values, by datapoint.

    Args:
        log_volume: of one point.
    """

    def __init__(self, log_volume):
        self.log_volume = log_volume
        self.peak = None

    def add(self, log_density, first, second=None):
        """Add points: `(data, points)`, and values `(points, values)` or `(data, points, values)`.

        `second` is the mean square of the values at a point, their square unless given.
        """
        log_density, first = log_density.double(), first.double()
        second = first.square() if second is None else second.double()
        peak = log_density.max(1).values
        if self.peak is None:
            self.peak, old = peak, None
        else:
            new = torch.maximum(self.peak, peak)
            old, self.peak = (self.peak - new).exp(), new
        weights = (log_density - self.peak[:, None]).exp()
        sums = [weights.sum(1), _weighted(weights, first), _weighted(weights, second)]
        if old is not None:
            kept = [old, old[:, None], old[:, None]]
            sums = [a + b * c for a, b, c in zip(sums, kept, self.sums, strict=True)]
        self.sums = sums

    def log_mass(self):
        return self.peak + self.sums[0].log() + self.log_volume

    def mean(self):
        return self.sums[1] / self.sums[0][:, None]

    def sd(self):
        second = self.sums[2] / self.sums[0][:, None]
        return (second - self.mean().square()).clamp(min=0).sqrt()


def _weighted(weights, values):
    if values.dim() == 2:
        return weights @ values
    return torch.einsum("np,npv->nv", weights, values)


def line(log_density, values, step, second=None):
    """Integrate `(data, points)` over equidistant points; see `Moments.add` for the values."""
    fine, coarse = Moments(math.log(step)), Moments(math.log(2 * step))
    fine.add(log_density, values, second)
    half = None if second is None else second[..., ::2, :]
    coarse.add(log_density[:, ::2], values[..., ::2, :], half)
    return agreed(fine, coarse)


def plane(log_density, axis):
    """Integrate over a square; `log_density` maps points `(points, 2)` to `(data, points)`."""
    step = float(axis[1] - axis[0])
    fine, coarse = Moments(2 * math.log(step)), Moments(2 * math.log(2 * step))
    for number, first in enumerate(axis):
        points = torch.stack([first.expand(len(axis)), axis], -1)
        values = log_density(points)
        fine.add(values, points)
        if number % 2 == 0:
            coarse.add(values[:, ::2], points[::2])
    return agreed(fine, coarse)


def agreed(fine, coarse):
    """Return the finer of two integrals.

    Raises:
        ArithmeticError: if the two differ.
    """
    nats = (fine.log_mass() - coarse.log_mass()).abs().max()
    share = ((fine.mean() - coarse.mean()) / fine.sd()).abs().max()
    if not (nats < NATS and share < SHARE):
        raise ArithmeticError(
            f"two resolutions differ by {float(nats):.2g} nats in log P(X) and by "
            f"{float(share):.2g} standard deviations in means; take a smaller step"
        )
    return fine


def right_of(moments, site="z"):
    """Return what is right for a pair of one latent site."""
    return Right(moments.log_mass(), {site: moments.mean()}, {site: moments.sd()})
