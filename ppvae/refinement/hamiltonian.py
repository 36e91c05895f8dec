"""Hamiltonian transitions along a path."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from ppvae.refinement.paths import Path, Point
from ppvae.refinement.unconstrained import State

_SMALLEST = 0.1  # share of the step size that a trajectory may have


def transition(
    path: Path,
    point: Point,
    temperature: float,
    step_size: Tensor,
    widths: State,
    leapfrogs: int,
    generator: torch.Generator | None = None,
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
        widths: factors of each coordinate's step size, by site, in the shape of one chain.
        leapfrogs: steps of the trajectory.
        generator: draws the random numbers; torch's own unless given.

    Returns:
        The point after it, and the probability of acceptance, `(chain, data)`.
    """
    space, before = path.space, point.log_density(temperature)
    share = torch.exp(math.log(_SMALLEST) * _uniform(before, generator))
    sizes = {
        name: space.broadcast(name, step_size * share) * width
        for name, width in space.for_all_chains(widths).items()
    }
    momentum = {name: _normal(value, generator) for name, value in point.state.items()}
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
    accepted = _uniform(probability, generator) < probability
    moved = replace(
        proposal,
        state=space.where(accepted, proposal.state, point.state),
        log_start=torch.where(accepted, proposal.log_start, point.log_start),
        log_target=torch.where(accepted, proposal.log_target, point.log_target),
    )
    return moved, probability


def _moved(state: State, velocity: State, sizes: State, share: float) -> State:
    return {name: value + share * sizes[name] * velocity[name] for name, value in state.items()}


def _uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.empty_like(like).uniform_(generator=generator)


def _normal(like: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.empty_like(like).normal_(generator=generator)
