"""The modes of each datapoint's posterior, and the normals and Student-t distributions there."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.refinement.climbing import climb
from ppvae.refinement.components import Components
from ppvae.refinement.curvature import Curvature, curvature_at
from ppvae.refinement.targets import Target

_MOST = 4  # modes of a datapoint
_APART = 4.0  # squared distance in standard deviations from which two ends are two modes
_LIGHT = 10.0  # nats by which a mode's mass may lie below the largest
_FREEDOM = 5.0  # of the Student-t distributions
_SPREAD = 0.1  # of the shares, divided equally among the modes


@dataclass(frozen=True)
class Modes:
    """Where climbs ended that are modes of their own, the heaviest first.

    Args:
        places: `(mode, data, value)`.
        values: log p(x, u) there, `(mode, data)`; -inf where a datapoint has fewer.
        factors: L with L L^T the covariance of the normal there, `(mode, data, value, value)`.
    """

    places: Tensor
    values: Tensor
    factors: Tensor

    def log_masses(self) -> Tensor:
        """Return Laplace's approximation of the modes' parts of log p(x), `(mode, data)`.

        log p(x, u) + d/2 log 2 pi + log |L| (Tierney and Kadane, "Accurate Approximations for
        Posterior Moments and Marginal Densities", 1986).
        """
        size = self.places.shape[-1]
        volumes = self.factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return self.values + volumes + size / 2 * math.log(2 * math.pi)

    def components(self) -> Components:
        """Return a normal and a Student-t distribution at each mode, half of its share each."""
        masses = self.log_masses()
        present = masses.isfinite()
        equal = present.to(masses) / present.sum(0).clamp(min=1)
        shares = (1 - _SPREAD) * masses.softmax(0).nan_to_num(0.0) + _SPREAD * equal
        log_shares = (shares / 2).log()
        return Components(
            torch.cat([log_shares, log_shares]),
            torch.cat([self.places, self.places]),
            torch.cat([self.factors, self.factors]),
            torch.tensor([math.inf, _FREEDOM]).repeat_interleave(len(masses)),
        )


def find_modes(target: Target, starts: Tensor, widths: Tensor, steps: int) -> Modes:
    """Climb from several starts of every datapoint, and keep the ends that lie apart.

    Args:
        target: log p(x, u).
        starts: `(start, data, value)`.
        widths: rough standard deviations, `(data, value)`.
        steps: of a climb, at most.
    """
    ends, values = climb(target.value_and_gradient, starts, widths, steps)
    left = values.clone()
    places, heights, factors = [], [], []
    rows = torch.arange(target.rows)
    for _ in range(min(_MOST, len(starts))):
        best = left.argmax(0)
        present = left.gather(0, best[None])[0].isfinite()
        if not bool(present.any()):
            break
        place = ends[best, rows]
        here = rows[present]
        factor = torch.eye(place.shape[-1]).to(place).expand(len(rows), -1, -1).clone()
        part = target.of(here)
        found = curvature_at(part.value_and_gradient, place[here], widths[here])
        factor[here] = _checked(part, place[here], found).factor
        places.append(place)
        heights.append(left.gather(0, best[None])[0])
        factors.append(factor)
        # Ends at the same mode, and ends far below it, are left out.
        difference = (ends - place).movedim(0, -1)
        whitened = torch.linalg.solve_triangular(factor, difference, upper=False)
        near = whitened.square().sum(-2).T < _APART
        low = left < heights[0] - _LIGHT
        left = left.masked_fill(near | low, -torch.inf)
    return Modes(torch.stack(places), torch.stack(heights), torch.stack(factors))


def _checked(target: Target, place: Tensor, found: Curvature) -> Curvature:
    """Measure the curvature again where the widths were far from those it shows."""
    wrong = found.far.nonzero()[:, 0]
    if not len(wrong):
        return found
    again = curvature_at(target.of(wrong).value_and_gradient, place[wrong], found.widths[wrong])
    factor = found.factor.clone()
    factor[wrong] = again.factor
    return Curvature(factor, found.widths, found.far)
