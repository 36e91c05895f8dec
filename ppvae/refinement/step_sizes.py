"""Step sizes of Hamiltonian transitions along a path, from a pilot run."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from ppvae.refinement.hamiltonian import transition
from ppvae.refinement.paths import Path, Point
from ppvae.refinement.unconstrained import State, Unconstrained

ACCEPTANCE = 0.65
"""The rate at which most distance is gained for the work (Beskos, Pillai, Roberts, Sanz-Serna and
Stuart, "Optimal tuning of the hybrid Monte Carlo algorithm", 2013)."""

SEARCHES = 20
"""Pilot transitions at the first temperature, which find a step size."""

_LEAST = 0.02  # acceptance below which a chain counts as not moving
_WINDOW = 3  # pilot temperatures over which step sizes are averaged
_NEW = 0.2  # share of a temperature's own chains in the widths that its transition uses
_KNOTS = 10  # parts of the path, each with its own widths
_WIDEST = 100.0  # spreads of the start that a width may have
_LARGEST = 5.0  # logarithm of the largest step in widths: a flat density accepts any


@dataclass(frozen=True)
class StepSizes:
    """Step sizes of every latent coordinate at the inner temperatures of a schedule.

    Args:
        log_steps: what all coordinates have in common, `(temperature, data)`.
        log_widths: what each coordinate has for itself, by site, `(knot, ...)` in the shape of
            one chain; knots are the middles of equal parts of the schedule.
    """

    log_steps: Tensor
    log_widths: State

    def __len__(self) -> int:
        return len(self.log_steps)

    def at(self, index: int) -> tuple[Tensor, State]:
        """Return step sizes, `(data,)`, and widths by which each coordinate's is multiplied."""
        place = _knot_places(self.log_steps.new_tensor([(index + 1) / (len(self) + 1)]))
        widths = {
            name: _interpolated(knots, place.to(knots))[0].exp()
            for name, knots in self.log_widths.items()
        }
        return self.log_steps[index].exp(), widths

    def reversed(self) -> Self:
        """Return the step sizes of the reversed schedule."""
        knots = {name: value.flip(0) for name, value in self.log_widths.items()}
        return replace(self, log_steps=self.log_steps.flip(0), log_widths=knots)


def tune(
    path: Path,
    point: Point,
    pilot: Sequence[float],
    count: int,
    leapfrogs: int,
    done: Callable[[], object],
    generator: torch.Generator | None = None,
) -> StepSizes:
    """Find step sizes with which `ACCEPTANCE` of the trajectories are accepted.

    A coordinate's step is in proportion to its width 1 / E|d log f_t / du|, over the chains; for a
    normal density this is its standard deviation given all others, whatever the units of the
    latents. The chains' spread would instead be that of all modes together. A factor common to all
    coordinates is changed after every transition of a pilot run along a coarser schedule. Other
    chains use both later: for these the step sizes are fixed, so that their weights are unbiased.
    The rate is the harmonic mean over chains, the inverse of their mean waiting time: the
    arithmetic mean can reach the target although a third of the chains never move.

    Args:
        path: the densities.
        point: draws of the start.
        pilot: inner temperatures of the coarser schedule.
        count: number of inner temperatures of the chains to come, in a schedule of its shape.
        leapfrogs: steps of a trajectory.
        done: called after every transition.
        generator: draws the random numbers of the transitions; torch's own unless given.
    """
    space = path.space
    spread = _spread(space, point.state)
    log_step = torch.full_like(point.log_start[0], -1.0)
    log_width = _log_width(path, point, pilot[0], spread)
    parts = [index * _KNOTS // len(pilot) for index in range(len(pilot))]
    knots = {name: torch.zeros(_KNOTS, *value.shape).to(value) for name, value in spread.items()}
    found = []
    for index, temperature in enumerate((*[pilot[0]] * SEARCHES, *pilot), start=-SEARCHES):
        seen = _log_width(path, point, temperature, spread)
        log_width = {name: old.lerp(seen[name], _NEW) for name, old in log_width.items()}
        widths = {name: value.exp() for name, value in log_width.items()}
        point, probability = transition(
            path, point, temperature, log_step.exp(), widths, leapfrogs, generator
        )
        rate = 1 / (1 / probability.clamp(min=_LEAST)).mean(0)
        log_step = (log_step + rate - ACCEPTANCE).clamp(max=_LARGEST)
        if index >= 0:
            found.append(log_step + _center(space, log_width))
            for name, value in seen.items():
                knots[name][parts[index]] += value / parts.count(parts[index])
        done()
    curve = torch.stack(found)
    edges = torch.cat([curve[:1]] * (_WINDOW // 2) + [curve] + [curve[-1:]] * (_WINDOW // 2))
    curve = edges.unfold(0, _WINDOW, 1).mean(-1)
    shares = torch.arange(1, count + 1).to(curve) / (count + 1)
    log_steps = _interpolated(curve, shares * (len(curve) + 1) - 1)
    # The steps of the pilot run were those of its own widths.
    centers = torch.stack([_center(space, _at(knots, knot)) for knot in range(_KNOTS)])
    return StepSizes(log_steps - _interpolated(centers, _knot_places(shares)), knots)


def _spread(space: Unconstrained, state: State) -> State:
    """Return each coordinate's standard deviation over the chains, or 1 where they agree."""
    means = space.for_all_chains(space.mean_over_chains(state))
    squares = {name: (value - means[name]).square() for name, value in state.items()}
    deviations = {name: value.sqrt() for name, value in space.mean_over_chains(squares).items()}
    return {
        name: torch.where((value > 0) & value.isfinite(), value, 1.0)
        for name, value in deviations.items()
    }


def _log_width(path: Path, point: Point, temperature: float, spread: State) -> State:
    """Return the logarithms of the coordinates' widths, in the shape of one chain.

    A flat density, such as that of a masked latent, has no width. Its spread is taken instead.
    """
    gradients = path.gradient(point.state, temperature)
    sizes = {
        name: torch.where(value.isfinite(), value.abs(), math.nan)
        for name, value in gradients.items()
    }
    widths = {}
    for name, mean in path.space.mean_over_chains(sizes).items():
        width = math.sqrt(2 / math.pi) / mean
        width = width.minimum(_WIDEST * spread[name]).clamp(min=torch.finfo(mean.dtype).tiny)
        widths[name] = torch.where(mean > 0, width, spread[name]).log()
    return widths


def _center(space: Unconstrained, log_width: State) -> Tensor:
    """Return the mean over all coordinates, `(data,)`."""
    ones = {name: torch.ones_like(value) for name, value in log_width.items()}
    total, count = (space.sum(space.for_all_chains(state))[0] for state in (log_width, ones))
    return total / count


def _at(knots: State, knot: int) -> State:
    return {name: value[knot] for name, value in knots.items()}


def _knot_places(shares: Tensor) -> Tensor:
    """Return where shares of a schedule lie among the knots, the middles of equal parts."""
    return shares * _KNOTS - 0.5


def _interpolated(curve: Tensor, places: Tensor) -> Tensor:
    """Interpolate a curve along its first dimension, constant beyond its ends."""
    places = places.clamp(0, len(curve) - 1)
    lower = places.floor().long()
    upper = (lower + 1).clamp(max=len(curve) - 1)
    share = (places - lower).reshape(-1, *(1,) * (curve.dim() - 1))
    return curve[lower].lerp(curve[upper], share)
