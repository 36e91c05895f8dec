"""A program that is captured once, compared once with its compiled form, and then run by it.

Three callers share this: an objective, a step of training, and draws from a guide. Each runs its
program uncompiled as long as there is no code, and for good if a `CaptureError` says why.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.code import Generator, replay
from ppvae.engine.compilation.graph import Program, capture
from ppvae.engine.errors import first_line
from ppvae.engine.isolation import random_state, set_random_state

Result = TypeVar("Result")

TOLERANCE = 1e-3
"""Relative error up to which tensors count as equal: wrong code differs by far more."""

LOSS_TOLERANCE = 1e-4
"""The same for a loss or a log density, a sum whose rounding errors cancel."""

MOVE_TOLERANCE = 3e-2
"""The same for a step of parameters: where a gradient is zero up to rounding, Adam makes a whole
step of it."""


class OutsideSupport(CaptureError):
    """A value lies outside its distribution's support; the program itself says which."""


@dataclass(frozen=True)
class Quantity:
    """What a program computes, to be compared with what its compiled form computes.

    Attributes:
        name: what to call it in a message.
        values: its tensors.
        start: what they were before the program ran; zeros unless given.
        tolerance: the relative error up to which it counts as equal.
    """

    name: str
    values: Sequence[Tensor]
    start: Sequence[Tensor] | None = None
    tolerance: float = TOLERANCE


class CompiledProgram:
    """A program as a graph with its code.

    Args:
        program: called as `program(mode, *inputs)` while it is captured; returns tensors.
        inputs: the tensors that will differ from run to run, parameters among them.
        generator: makes what runs the graph.
        fallback: called with the reason if the generator fails; the graph then runs operation by
            operation. Unless given, that is a `CaptureError`.

    Raises:
        CaptureError: if the program would do something else as a graph.

    Attributes:
        written: the tensors that the program writes to.
        compared: whether `compare` has found that it does what the program does.
    """

    def __init__(
        self,
        program: Program,
        inputs: Sequence[Tensor],
        generator: Generator,
        fallback: Callable[[str], None] | None = None,
    ) -> None:
        self.graph = capture(program, inputs)
        self._lifted = self.graph.lifted
        every = [*inputs, *self._lifted]
        self.written = [every[place] for place in self.graph.written]
        self.compared = False
        try:
            self.code = generator(self.graph, every)
            if fallback is not None:
                self.code.result()
        except CaptureError as error:
            if fallback is None:
                raise
            fallback(str(error))
            self.code = replay(self.graph, every)

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run the code, without gradients, and return what the program returned.

        Raises:
            CaptureError: if there is no code, for want of a working compiler.
            OutsideSupport: if a value lies outside its distribution's support.
        """
        with torch.no_grad():
            outputs = list(self.code.result()([*inputs, *self._lifted]))
        if self.graph.checked and not outputs.pop():
            raise OutsideSupport("a value lies outside its distribution's support")
        return outputs

    def compare(
        self,
        program: Callable[[], tuple[object, Sequence[Quantity]]],
        compiled: Callable[[], tuple[Result, Sequence[Quantity]]],
        *,
        undo: Callable[[], None] = lambda: None,
        tensors: Sequence[Tensor] = (),
    ) -> Result:
        """Run both from one random state; return what the compiled one does, if they agree.

        All effects of the program's run are undone. If they disagree, those of the compiled one
        are undone too.

        Args:
            program: runs the program; returns its result and the quantities to be compared.
            compiled: runs the compiled program; likewise.
            undo: undoes what a run does to anything but tensors.
            tensors: more tensors than `written` that a run changes.

        Raises:
            CaptureError: if a quantity differs, or the compiled program fails.
        """
        changed = [*self.written, *tensors]
        before = [tensor.detach().clone() for tensor in changed]
        state = random_state()

        def back() -> None:
            undo()
            set_random_state(state)
            with torch.no_grad():
                for tensor, value in zip(changed, before, strict=True):
                    tensor.copy_(value)

        _, expected = program()
        back()
        try:
            result, found = compiled()
        except CaptureError:
            back()
            raise
        except (ArithmeticError, RuntimeError) as error:
            back()
            raise CaptureError(f"compiled, it fails: {first_line(error)}") from error
        for quantity, other in zip(expected, found, strict=True):
            difference = _difference(quantity, other)
            if difference:
                back()
                raise CaptureError(f"compiled, the {quantity.name} would {difference}")
        self.compared = True
        return result


def _difference(expected: Quantity, found: Quantity) -> str:
    """Say how a quantity differs; return an empty text if it does not."""
    error = relative_error(found.values, expected.values, expected.start)
    if error <= expected.tolerance:
        return ""
    if len(expected.values) == 1 and expected.values[0].numel() == 1 and expected.start is None:
        return f"be {float(found.values[0]):.6g} instead of {float(expected.values[0]):.6g}"
    return f"differ, with a relative error of {error:.2g}"


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
    start = [torch.zeros_like(tensor) for tensor in reference] if start is None else start
    difference, norm = 0.0, 0.0
    for value, other, origin in zip(values, reference, start, strict=True):
        first, second = value.detach().double(), other.detach().double()
        same = (first == second) | (first.isnan() & second.isnan())
        difference += float(torch.where(same, 0.0, (first - second).square()).sum())
        moved = (second - origin.detach().double()).square()
        norm += float(torch.where(moved.isfinite(), moved, 0.0).sum())
    return math.sqrt(difference / norm) if norm > 0 else math.sqrt(difference)
