"""Annealed importance sampling from a fitted mixture to the posterior, its draws kept."""

from collections.abc import Callable

import torch
from torch import Tensor

from ppvae.refinement.annealed_chains import sigmoid_schedule
from ppvae.refinement.components import Components
from ppvae.refinement.targets import Target

_PILOT = 32  # chains that find the step sizes
_ACCEPTANCE = 0.65
_SMALLEST = 0.2  # share of the step size that a trajectory may have

Ends = tuple[Tensor, Tensor]
"""Log densities of the mixture and of p(x, u), `(chain, data)` each."""


def tempered(
    target: Target,
    start: Components,
    factor: Tensor,
    *,
    chains: int,
    temperatures: int,
    leapfrogs: int,
    done: Callable[[], object] = lambda: None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Move draws of a mixture q to the posterior, by Hamiltonian trajectories.

        f_t(u) = q(u)^(1 - t) p(x, u)^t,    log w = sum over t of log f_t - log f_s at each place

    The weights are unbiased for p(x) (Neal, "Annealed importance sampling", 2001). Momenta have
    the inverse of the covariance L L^T as theirs. Step sizes of each temperature are tuned in a
    pilot run of other chains.

    Args:
        target: log p(x, u).
        start: the mixture q.
        factor: L, `(data, value, value)`.
        chains: number of chains of each datapoint.
        temperatures: number of densities after q.
        leapfrogs: steps of a trajectory.
        done: called after every transition.

    Returns:
        The places at the end, `(chain, data, value)`, log w in nats, `(chain, data)`, and the mean
        rate of acceptance, `(data,)`.
    """
    schedule = sigmoid_schedule(temperatures)
    log_step = torch.full((target.rows,), -0.5)
    steps = []
    place = start.draw(_PILOT)
    ends = _ends(target, start, place)
    # The first transitions, at one temperature, find a step size.
    for temperature in (*[schedule[1]] * 8, *schedule[1:]):
        place, rate, ends = _moved(
            target, start, factor, place, ends, temperature, log_step.exp(), leapfrogs
        )
        log_step = (log_step + rate.mean(0) - _ACCEPTANCE).clamp(-6.0, 1.0)
        steps.append(log_step.exp())
        done()
    steps = steps[8:]
    place = start.draw(chains)
    ends = _ends(target, start, place)
    log_weights = torch.zeros(chains, target.rows, dtype=torch.float64)
    rates = torch.zeros(target.rows)
    for index, temperature in enumerate(schedule[1:]):
        difference = ends[1].double() - ends[0].double()
        log_weights += (temperature - schedule[index]) * difference
        place, rate, ends = _moved(
            target, start, factor, place, ends, temperature, steps[index], leapfrogs
        )
        rates += rate.mean(0) / temperatures
        done()
    return place, log_weights, rates


def _ends(target: Target, start: Components, place: Tensor) -> Ends:
    return start.log_prob(place), target.log_joint(place)


def _log_density(ends: Ends, temperature: float) -> Tensor:
    return (1 - temperature) * ends[0] + temperature * ends[1]


def _moved(
    target: Target,
    start: Components,
    factor: Tensor,
    place: Tensor,
    ends: Ends,
    temperature: float,
    step: Tensor,
    leapfrogs: int,
) -> tuple[Tensor, Tensor, Ends]:
    """Move every chain by one trajectory that leaves f_t as it is."""

    def slope(there: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = there.detach().requires_grad_()
            log_joint = target.log_joint(leaf)
            total = (1 - temperature) * start.log_prob(leaf) + temperature * log_joint
            (gradient,) = torch.autograd.grad(total.sum(), leaf)
        # In units of the covariance.
        return _times(factor.mT, gradient.nan_to_num(0.0, 0.0, 0.0))

    before = _log_density(ends, temperature)
    share = _SMALLEST ** torch.rand_like(before)
    size = (step * share).unsqueeze(-1)
    momentum = torch.randn_like(place)
    kinetic = momentum.square().sum(-1) / 2
    moved = place + _times(factor, size / 2 * momentum)
    for index in range(leapfrogs):
        momentum = momentum + size * slope(moved)
        moved = moved + _times(factor, size * (0.5 if index == leapfrogs - 1 else 1) * momentum)
    there = _ends(target, start, moved)
    gain = _log_density(there, temperature) - before + kinetic - momentum.square().sum(-1) / 2
    probability = torch.where(gain.isnan(), 0.0, gain.clamp(max=0).exp())
    accepted = torch.rand_like(probability) < probability
    place = torch.where(accepted.unsqueeze(-1), moved, place)
    both = (
        torch.where(accepted, there[0], ends[0]),
        torch.where(accepted, there[1], ends[1]),
    )
    return place, probability, both


def _times(factor: Tensor, vectors: Tensor) -> Tensor:
    """Multiply each datapoint's matrix with its vectors, `(chain, data, value)`."""
    return torch.einsum("nij,cnj->cni", factor, vectors)
