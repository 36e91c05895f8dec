"""Hamiltonian transitions along a path, and the step sizes with which they are accepted."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ppvae.refinement.paths import Path, Point
from ppvae.refinement.unconstrained import State

ACCEPTANCE = 0.65
"""The rate at which most distance is gained for the work (Beskos, Pillai, Roberts, Sanz-Serna and
Stuart, "Optimal tuning of the hybrid Monte Carlo algorithm", 2013)."""

SEARCHES = 20
"""Pilot transitions at the first temperature, which find a step size of any magnitude."""

_SMALLEST = 0.1  # share of the step size that a trajectory may have
_LEAST = 0.02  # acceptance below which a chain counts as not moving
_WINDOW = 3  # pilot temperatures over which step sizes are averaged


def transition(
    path: Path, point: Point, temperature: float, step_size: Tensor, leapfrogs: int
) -> tuple[Point, Tensor]:
    """Move every chain by one Hamiltonian trajectory that leaves f_t as it is.

    Momenta are drawn anew, so forward and backward are one and the same transition (Duane,
    Kennedy, Pendleton and Roweth, "Hybrid Monte Carlo", 1987). A trajectory that leaves the finite
    latents is rejected. Its step size is the given one times a factor whose logarithm is uniform
    over a decade: the error of a trajectory grows with the energy, so a chain far from the mass of
    the density can return by small steps only.

    Args:
        path: the densities.
        point: where the chains are.
        temperature: t, between 0 and 1.
        step_size: of each datapoint, `(data,)`.
        leapfrogs: steps of the trajectory.

    Returns:
        The point after it, and the probability of acceptance, `(chain, data)`.
    """
    space, before = path.space, point.log_density(temperature)
    share = torch.exp(math.log(_SMALLEST) * torch.rand_like(before))
    sizes = {name: space.broadcast(name, step_size * share) for name in point.state}
    momentum = {name: torch.randn_like(value) for name, value in point.state.items()}
    kinetic = space.squared_norm(momentum) / 2
    inside = torch.ones_like(before, dtype=torch.bool)
    state = _moved(point.state, momentum, sizes, 0.5)
    for index in range(leapfrogs):
        inside = inside & space.in_support(state)
        state = space.where(inside, state, point.state)
        momentum = _moved(momentum, path.gradient(state, temperature), sizes, 1.0)
        state = _moved(state, momentum, sizes, 0.5 if index == leapfrogs - 1 else 1.0)
    inside = inside & space.in_support(state)
    proposal = path.at(space.where(inside, state, point.state))
    gain = proposal.log_density(temperature) - before + kinetic - space.squared_norm(momentum) / 2
    probability = torch.where(inside & ~gain.isnan(), gain.clamp(max=0).exp(), 0.0)
    accepted = torch.rand_like(probability) < probability
    moved = replace(
        proposal,
        state=space.where(accepted, proposal.state, point.state),
        log_start=torch.where(accepted, proposal.log_start, point.log_start),
        log_target=torch.where(accepted, proposal.log_target, point.log_target),
    )
    return moved, probability


def tune(
    path: Path,
    pilot: Sequence[float],
    count: int,
    leapfrogs: int,
    done: Callable[[], object],
) -> Tensor:
    """Find step sizes with which `ACCEPTANCE` of the trajectories are accepted.

    A pilot run along a coarser schedule changes them after every transition. Other chains use them
    later: for these the step sizes are fixed, so that their weights are unbiased. The rate
    is the harmonic mean over chains, the inverse of their mean waiting time: the arithmetic mean
    can reach the target although a third of the chains never move.

    Args:
        path: the densities.
        pilot: inner temperatures of the coarser schedule.
        count: number of inner temperatures of the chains to come, in a schedule of its shape.
        leapfrogs: steps of a trajectory.
        done: called after every transition.

    Returns:
        Step sizes, `(temperature, data)`.
    """
    point = path.draw()
    log_size = torch.full_like(point.log_start[0], -1.0)
    found = []
    for temperature in (*[pilot[0]] * SEARCHES, *pilot):
        point, probability = transition(path, point, temperature, log_size.exp(), leapfrogs)
        rate = 1 / (1 / probability.clamp(min=_LEAST)).mean(0)
        log_size = log_size + rate - ACCEPTANCE
        found.append(log_size)
        done()
    curve = torch.stack(found[SEARCHES:])
    edges = torch.cat([curve[:1]] * (_WINDOW // 2) + [curve] + [curve[-1:]] * (_WINDOW // 2))
    curve = edges.unfold(0, _WINDOW, 1).mean(-1)
    return _at_shares(curve, count).exp()


def _moved(state: State, velocity: State, sizes: State, share: float) -> State:
    return {name: value + share * sizes[name] * velocity[name] for name, value in state.items()}


def _at_shares(curve: Tensor, count: int) -> Tensor:
    """Interpolate a curve over one schedule's inner temperatures at those of another schedule.

    The k-th of K inner temperatures depends on k / (K + 1) alone.
    """
    shares = torch.arange(1, count + 1, device=curve.device, dtype=curve.dtype) / (count + 1)
    place = (shares * (len(curve) + 1) - 1).clamp(0, len(curve) - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp(max=len(curve) - 1)
    share = (place - lower)[:, None]
    return (1 - share) * curve[lower] + share * curve[upper]
