"""Whether two computations of the same numbers agree up to rounding.

Rounding of a sum is relative to its terms, not to the sum: a gradient that is zero in exact
arithmetic, such as that of a bias before a normalization, consists of nothing else. How large it
is shows in how the numbers change if the parameters change in their last digit.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

TOLERANCE = 1e-3
"""Relative error up to which tensors count as equal: wrong code differs by far more."""

LOSS_TOLERANCE = 1e-4
"""The same for a loss or a log density, a sum whose rounding errors cancel."""

REPEATS = 3
"""Runs from parameters that are changed in their last digit."""

_ROUNDED = 10.0  # times the largest change they make, up to which a difference is rounding
_UNITS = 4.0  # units of rounding of a number that is stored


@dataclass(frozen=True)
class Quantity:
    """What a program computes, to be compared with what its compiled form computes.

    Attributes:
        name: what to call it in a message.
        values: its tensors.
        start: what they were before the program ran; zeros unless given.
        tolerance: the relative error up to which it counts as equal.
        parts: names of its tensors, if each is to be compared for itself.
    """

    name: str
    values: Sequence[Tensor]
    start: Sequence[Tensor] | None = None
    tolerance: float = TOLERANCE
    parts: Sequence[str] = ()


Runs = Sequence[tuple[Sequence[Quantity], Sequence[Quantity]]]
"""Quantities of runs from parameters changed in their last digit, and of those as they are."""


def disagreement(
    expected: Sequence[Quantity],
    found: Sequence[Quantity],
    changed: Callable[[], Runs] = lambda: (),
) -> str:
    """Say which quantity differs by more than rounding; return an empty text if none does.

    Two quantities agree if their distance is at most the tolerance times the expected norm, plus
    10 times what a change of the parameters in their last digit makes.

    Args:
        expected: the quantities of a program.
        found: those of its compiled form.
        changed: makes such changes; called only if something differs by more than the tolerance.

    Example:
        >>> first, second = ([Quantity("loss", [torch.tensor(v)])] for v in (2.0, 2.1))
        >>> disagreement(first, second)
        'the loss would be 2.1 instead of 2'
    """
    runs: Runs | None = None
    for place, (quantity, other) in enumerate(zip(expected, found, strict=True)):
        every = range(len(quantity.values))
        for chosen in [[index] for index in every] if quantity.parts else [[*every]]:
            error, norm = _measured(other, quantity, chosen)
            bound = _bound(quantity, chosen, norm)
            if error <= bound:
                continue
            runs = changed() if runs is None else runs
            changes = [_measured(run[place], base[place], chosen)[0] for run, base in runs]
            bound += _ROUNDED * max(filter(math.isfinite, changes), default=0.0)
            if not error <= bound:  # NaN is a difference too
                return _message(quantity, other, chosen, error / norm if norm > 0 else error)
    return ""


def _bound(expected: Quantity, chosen: Sequence[int], norm: float) -> float:
    """Return the distance up to which quantities agree, whatever rounding was."""
    if expected.start is None and not expected.parts:
        return expected.tolerance * (norm if norm > 0 else 1)
    bound = expected.tolerance * norm
    for tensor in [expected.values[index] for index in chosen]:  # they are stored rounded
        if tensor.is_floating_point():
            epsilon = torch.finfo(tensor.dtype).eps
            bound += _UNITS * epsilon * _distance([tensor], [torch.zeros_like(tensor)])[0]
    return bound


def _measured(found: Quantity, expected: Quantity, chosen: Sequence[int]) -> tuple[float, float]:
    """Return distance and norm of some of the tensors."""
    values, reference = ([q.values[index] for index in chosen] for q in (found, expected))
    start = None if expected.start is None else [expected.start[index] for index in chosen]
    return _distance(values, reference, start)


def _message(quantity: Quantity, found: Quantity, chosen: Sequence[int], error: float) -> str:
    name = f"{quantity.name} {quantity.parts[chosen[0]]}" if quantity.parts else quantity.name
    number = quantity.values[chosen[0]]
    if len(chosen) == 1 and number.numel() == 1 and quantity.start is None:
        value = float(found.values[chosen[0]])
        return f"the {name} would be {value:.6g} instead of {float(number):.6g}"
    return f"the {name} would differ, with a relative error of {error:.2g}"


def relative_error(
    values: Sequence[Tensor], reference: Sequence[Tensor], start: Sequence[Tensor] | None = None
) -> float:
    """Return ||values - reference|| / ||reference - start||, over all tensors together.

    Numbers that are equal have no distance, infinite ones and NaN too; the norm is that of the
    finite numbers. The result is NaN if only one of both is NaN.

    Args:
        values: what to compare.
        reference: what with, of the same shapes.
        start: the origin of the norm; zeros unless given.

    Example:
        >>> round(relative_error([torch.tensor([3.0, 4.1])], [torch.tensor([3.0, 4.0])]), 4)
        0.02
    """
    distance, norm = _distance(values, reference, start)
    return distance / norm if norm > 0 else distance


def _distance(
    values: Sequence[Tensor], reference: Sequence[Tensor], start: Sequence[Tensor] | None = None
) -> tuple[float, float]:
    start = [torch.zeros_like(tensor) for tensor in reference] if start is None else start
    difference, norm = 0.0, 0.0
    for value, other, origin in zip(values, reference, start, strict=True):
        first, second = value.detach().double(), other.detach().double()
        same = (first == second) | (first.isnan() & second.isnan())
        difference += float(torch.where(same, 0.0, (first - second).square()).sum())
        moved = (second - origin.detach().double()).square()
        norm += float(torch.where(moved.isfinite(), moved, 0.0).sum())
    return math.sqrt(difference), math.sqrt(norm)


@contextmanager
def last_digit_changed(parameters: Sequence[Tensor], seed: int) -> Iterator[None]:
    """Multiply every parameter by 1 + epsilon or 1 - epsilon, at random, within the block."""
    floating = [tensor for tensor in parameters if tensor.is_floating_point()]
    before = [tensor.detach().clone() for tensor in floating]
    epsilon = max((torch.finfo(tensor.dtype).eps for tensor in floating), default=0.0)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in floating:
            sign = 2 * torch.randint(2, tensor.shape, generator=generator) - 1
            tensor.mul_(1 + epsilon * sign.to(tensor))
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(floating, before, strict=True):
                tensor.copy_(value)
