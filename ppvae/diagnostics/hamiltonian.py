"""Hamiltonian transitions along a path, and the step sizes with which they are accepted."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ppvae.diagnostics.paths import Path, Point
from ppvae.diagnostics.unconstrained import State

ACCEPTANCE = 0.65
"""The rate at which most distance is gained for the work (Beskos, Pillai, Roberts, Sanz-Serna and
Stuart, "Optimal tuning of the hybrid Monte Carlo algorithm", 2013)."""

SEARCHES = 20
"""Pilot transitions at the first temperature, which find a step size of any magnitude."""

_JITTER = 0.2  # of each trajectory's step size, so that none returns to where it began
_RATE = 0.3  # by which the step sizes' logarithm follows the acceptance along the path
_WINDOW = 5  # pilot temperatures over which step sizes are averaged


def transition(
    path: Path, point: Point, temperature: float, step_size: Tensor, leapfrogs: int
) -> tuple[Point, Tensor]:
    """Move every chain by one Hamiltonian trajectory that leaves f_t as it is.

    Momenta are drawn anew, so forward and backward are one and the same transition (Duane,
    Kennedy, Pendleton and Roweth, "Hybrid Monte Carlo", 1987). A trajectory that leaves the finite
    latents is rejected.

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
    spread = 1 + _JITTER * (2 * torch.rand_like(before) - 1)
    sizes = {name: space.spread(name, step_size * spread) for name in point.state}
    momentum = {name: torch.randn_like(value) for name, value in point.state.items()}
    kinetic = space.squared(momentum) / 2
    inside = torch.ones_like(before, dtype=torch.bool)
    state = _moved(point.state, momentum, sizes, 0.5)
    for index in range(leapfrogs):
        inside = inside & space.inside(state)
        state = space.choose(inside, state, point.state)
        momentum = _moved(momentum, path.gradient(state, temperature), sizes, 1.0)
        state = _moved(state, momentum, sizes, 0.5 if index == leapfrogs - 1 else 1.0)
    inside = inside & space.inside(state)
    proposal = path.at(space.choose(inside, state, point.state))
    gain = proposal.log_density(temperature) - before + kinetic - space.squared(momentum) / 2
    probability = torch.where(inside & ~gain.isnan(), gain.clamp(max=0).exp(), 0.0)
    accepted = torch.rand_like(probability) < probability
    moved = replace(
        proposal,
        state=space.choose(accepted, proposal.state, point.state),
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

    A pilot run along a coarser schedule changes them after every transition. Chains that use them
    later are others, so that they see fixed step sizes and their weights stay unbiased.

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
    log_size = torch.zeros_like(point.log_start[0]) - 1.0
    found = []
    for temperature, rate in (*[(pilot[0], 1.0)] * SEARCHES, *((t, _RATE) for t in pilot)):
        point, probability = transition(path, point, temperature, log_size.exp(), leapfrogs)
        log_size = log_size + rate * (probability.mean(0) - ACCEPTANCE)
        found.append(log_size)
        done()
    curve = torch.stack(found[SEARCHES:])
    edges = torch.cat([curve[:1]] * (_WINDOW // 2) + [curve] + [curve[-1:]] * (_WINDOW // 2))
    curve = edges.unfold(0, _WINDOW, 1).mean(-1)
    return _at_shares(curve, count).exp()


def _moved(state: State, velocity: State, sizes: State, share: float) -> State:
    return {name: value + share * sizes[name] * velocity[name] for name, value in state.items()}


def _at_shares(curve: Tensor, count: int) -> Tensor:
    """Read a curve over the inner temperatures of one schedule at those of another of one shape.

    The same share of the way is the same temperature, whatever their numbers.
    """
    shares = torch.arange(1, count + 1, device=curve.device, dtype=curve.dtype) / (count + 1)
    place = (shares * (len(curve) + 1) - 1).clamp(0, len(curve) - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp(max=len(curve) - 1)
    share = (place - lower)[:, None]
    return (1 - share) * curve[lower] + share * curve[upper]
