"""Climbs to the modes of log p(x, z), from several starts of all datapoints at once."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

_MEMORY = 8  # steps whose curvature is remembered
_ENOUGH = 1e-4  # share of the predicted gain that a step must reach
_SHORTER = 0.25  # of a step that gains too little
_SHORTEST = 1e-6
_CONVERGED = 1e-3  # nats that the last step gained
_FARTHEST = 20.0  # widths that a step goes at most

Climbed: TypeAlias = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Returns value and gradient, `(start, data)` and `(start, data, value)`."""


def climb(function: Climbed, start: Tensor, widths: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Maximize a function from several starts of every datapoint at once, by L-BFGS.

    Every start has a step size of its own: where a step gains too little, it is shortened, and
    the other starts go on (Liu and Nocedal, "On the limited memory BFGS method for large scale
    optimization", 1989).

    Args:
        function: what is maximized.
        start: `(start, data, value)`.
        widths: of each coordinate, `(data, value)`: the first steps are in units of them.
        steps: evaluations of the function at most.

    Returns:
        Where the climbs ended, `(start, data, value)`, and the values there, `(start, data)`.

    Example:
        >>> def bowl(u):
        ...     return -(u - 3).square().sum(-1) / 2, 3 - u
        >>> ends, values = climb(bowl, torch.zeros(1, 1, 2), torch.ones(1, 2), steps=20)
        >>> ends.round()
        tensor([[[3., 3.]]])
    """
    place, (value, gradient) = start, function(start)
    moves: list[Tensor] = []
    changes: list[Tensor] = []
    direction = _bounded(gradient * widths.square(), widths)
    size = torch.ones_like(value)
    gain = torch.full_like(value, torch.inf)
    for _ in range(steps):
        trial = place + size.unsqueeze(-1) * direction
        there, slope = function(trial)
        expected = size * (gradient * direction).sum(-1)
        better = there >= value + _ENOUGH * expected.clamp(min=0)
        better &= there.isfinite()
        taken = better.unsqueeze(-1)
        # A pair of zeros is no curvature, for starts that did not move.
        moves.append(torch.where(taken, trial - place, 0.0))
        changes.append(torch.where(taken, gradient - slope, 0.0))
        del moves[:-_MEMORY], changes[:-_MEMORY]
        gain = torch.where(better, there - value, gain)
        place = torch.where(taken, trial, place)
        value = torch.where(better, there, value)
        gradient = torch.where(taken, slope, gradient)
        done = (gain < _CONVERGED) | (size < _SHORTEST)
        if bool(done.all()):
            break
        newer = _bounded(_direction(gradient, moves, changes, widths), widths)
        direction = torch.where(taken, newer, direction)
        size = torch.where(better, 1.0, size * _SHORTER)
    return place, value


def _direction(
    gradient: Tensor, moves: list[Tensor], changes: list[Tensor], widths: Tensor
) -> Tensor:
    """Return the inverse curvature times the gradient, by the two loops of L-BFGS."""
    rest, shares, inverses = gradient, [], []
    for move, change in zip(reversed(moves), reversed(changes), strict=True):
        product = (move * change).sum(-1, keepdim=True)
        # Only where the function curves downwards along the move.
        usable = product > 1e-10 * (move.square().sum(-1, keepdim=True) + 1e-30)
        inverse = torch.where(usable, 1 / torch.where(usable, product, 1.0), 0.0)
        share = inverse * (move * rest).sum(-1, keepdim=True)
        rest = rest - share * change
        shares.append(share)
        inverses.append(inverse)
    scaled = rest * widths.square() * _scale(moves, changes, widths)
    for move, change, share, inverse in zip(
        moves, changes, reversed(shares), reversed(inverses), strict=True
    ):
        scaled = scaled + move * (share - inverse * (change * scaled).sum(-1, keepdim=True))
    # Where the remembered curvature misleads, along the gradient.
    uphill = (scaled * gradient).sum(-1, keepdim=True) > 0
    return torch.where(uphill, scaled, gradient * widths.square())


def _scale(moves: list[Tensor], changes: list[Tensor], widths: Tensor) -> Tensor:
    """Return the size of the inverse curvature in units of the widths, by the last usable pair."""
    scale = torch.ones_like(moves[0][..., :1])
    for move, change in zip(moves, changes, strict=True):
        product = (move * change).sum(-1, keepdim=True)
        square = (widths * change).square().sum(-1, keepdim=True)
        scale = torch.where((product > 0) & (square > 0), product / square.clamp(min=1e-30), scale)
    return scale


def _bounded(direction: Tensor, widths: Tensor) -> Tensor:
    length = (direction / widths).norm(dim=-1, keepdim=True)
    bounded: Tensor = direction * (_FARTHEST / length.clamp(min=_FARTHEST))
    return bounded
