"""One training step as one graph: minibatch, loss, gradients and the optimizer's update."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    CaptureError,
    CaptureMode,
    CompiledProgram,
    Generator,
    Quantity,
    loss_and_gradients,
)
from ppvae.inference.steps.minibatches import Minibatch
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.pyro_step import Steps
from ppvae.inference.steps.stepped_tensors import SteppedTensors
from ppvae.inference.steps.updates import PROBE


class CompiledStep:
    """A step for one kind of minibatch, captured when it is made.

    It changes the tensors that the uncompiled step changes: parameters, the optimizer's state, the
    pair's buffers. A step whose loss is not finite, or whose data lie outside their likelihood's
    support, changes no parameter. The gradient is not checked at each step, to save time. After a
    non-finite gradient, parameters or optimizer state are non-finite too; `stepped.finite` detects
    it.

    Args:
        eager: the uncompiled steps; their optimizer has taken one before.
        parameters: the unconstrained parameters by name.
        example: a minibatch of the kind.
        generator: makes the graph run.

    Raises:
        CaptureError: if the step would be another as a graph.
    """

    def __init__(
        self,
        eager: Steps,
        parameters: Mapping[str, Tensor],
        example: Minibatch,
        generator: Generator,
    ) -> None:
        assert isinstance(eager.optim, JointOptim)
        self.eager, self.optim = eager, eager.optim
        self.parameters = list(parameters.values())
        self.stepped = SteppedTensors(self.optim, parameters)
        self._trained: set[int] = set()  # ids of the parameters that have a gradient
        self._example = example
        inputs = [*self.stepped.tensors, self.stepped.numbers(), *example.parts]
        self.compiled = CompiledProgram(self._program, inputs, generator, eager.programs)

    @property
    def programs(self) -> Sequence[CompiledProgram]:
        """Return what is compiled."""
        return [self.compiled]

    def __call__(self, minibatch: Minibatch) -> float:
        """Take a step and return the loss before it.

        Raises:
            FloatingPointError: if the loss is not finite, or data outside the support; with a
                clipped norm, if that is not finite.
        """
        loss = self._take(minibatch, self.stepped.numbers())
        self.optim.count_step()
        return loss

    def _take(self, minibatch: Minibatch, numbers: Tensor) -> float:
        outcome = self.compiled([*self.stepped.tensors, numbers, *minibatch.parts])[0]
        loss, taken = outcome.tolist()
        if not taken:
            raise refused(loss)
        return float(loss)

    def compare(self, minibatch: Minibatch) -> float:
        """Take a step by the graph, if the uncompiled step from here has the same result.

        Compared are first loss, gradients and buffers, and then what the optimizer makes of one
        and the same gradient: of a gradient that is rounding alone, Adam makes a whole step.

        Raises:
            CaptureError: if it has not; nothing has been changed then, nor drawn.
        """
        self.optim.sync_counters()
        steps, stepped = self.optim.steps, self.stepped
        gradients: dict[int, Tensor] = {}
        with_undo: Any = {
            "undo": lambda: self.optim.reset_counters(steps),
            "tensors": [*self.optim.counters(), *stepped.tensors],
        }

        def probed() -> tuple[float, list[Quantity]]:
            loss, found = self._probed(minibatch)
            if not gradients:  # the first run is from the parameters as they are
                gradients.update(found)
            return loss, self._quantities(loss, found)

        self.compiled.compare(
            lambda: self._uncompiled(minibatch),
            probed,
            parameters=stepped.parameters,
            keep=False,
            **with_undo,
        )
        before = [tensor.detach().clone() for tensor in stepped.tensors]

        return self.compiled.compare(
            lambda: (stepped.apply(gradients), stepped.moves(before, gradients)),
            lambda: (self(minibatch), stepped.moves(before, gradients)),
            **with_undo,
        )

    def _uncompiled(self, minibatch: Minibatch) -> tuple[float, list[Quantity]]:
        """Take the uncompiled step; return its loss, gradients and buffers."""
        assert self.optim.optimizer is not None
        gradients: dict[int, Tensor] = {}

        def look(optimizer: Any, args: Any, kwargs: Any) -> None:
            for parameter in self.stepped.parameters:
                if parameter.grad is not None:
                    gradients[id(parameter)] = parameter.grad.detach().clone()

        hook = self.optim.optimizer.register_step_pre_hook(look)
        try:
            loss = self.eager.take(minibatch)
        finally:
            hook.remove()
        check_trained(self.stepped, gradients, self._trained)
        return loss, self._quantities(loss, gradients)

    def _probed(self, minibatch: Minibatch) -> tuple[float, dict[int, Tensor]]:
        """Run the code; return its loss and its gradients, as its optimizer sees them.

        The numbers that the optimizer is given, and its state, are such that its step shows them.
        """
        before = []
        with torch.no_grad():
            for parameter, _, state in self.stepped.entries:
                before.append(parameter.detach().clone())
                for tensor in state.values():
                    tensor.zero_()
        update = self.stepped.update
        numbers = torch.tensor([update.probe() for _ in self.optim.groups]).double()
        loss = self._take(minibatch, numbers)
        gradients = {}
        for (parameter, group, _), old in zip(self.stepped.entries, before, strict=True):
            if id(parameter) in self._trained:
                sign = -1 if group["maximize"] else 1
                gradients[id(parameter)] = (old - parameter.detach()) * (sign / PROBE)
        return loss, gradients

    def _quantities(self, loss: float, gradients: Mapping[int, Tensor]) -> list[Quantity]:
        return [
            Quantity("loss", [torch.tensor(loss).double()], tolerance=LOSS_TOLERANCE),
            self.stepped.gradients(gradients),
            *buffers(self.compiled, self.stepped),
        ]

    def _program(self, mode: CaptureMode, *flat: Tensor) -> list[Tensor]:
        stepped = self.stepped
        count = len(stepped.tensors)
        tensors, (numbers, *parts) = flat[:count], flat[count:]
        loss, fine, gradients = differentiated(
            mode, self.eager.objective, self.parameters, self.eager.programs, self._example, parts
        )
        self._trained = set(gradients)
        check_known(stepped, gradients)
        with torch.no_grad():
            taken = stepped.write(tensors, gradients, numbers, fine)
            return [torch.stack([loss, taken.double()])]


def differentiated(
    mode: CaptureMode,
    objective: ELBO,
    parameters: Sequence[Tensor],
    programs: tuple[Callable[..., Any], Callable[..., Any]],
    example: Minibatch,
    parts: Sequence[Tensor],
) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
    """Return the loss of a minibatch in a graph, whether it is fine, and gradients by id.

    Raises:
        CaptureError: if no parameter has a gradient.
    """
    losses, gradients = loss_and_gradients(
        mode, objective, parameters, *programs, *example.gathered(parts)
    )
    by_parameter = {
        id(parameter): gradient
        for parameter, gradient in zip(parameters, gradients, strict=True)
        if gradient is not None
    }
    if not by_parameter:
        raise CaptureError("no parameter has a gradient")
    with torch.no_grad():
        loss = torch.stack([value.double().sum() for value in losses]).sum()
        # A reduction, so that it is one number in memory, not computed for every parameter.
        fine = torch.stack([torch.isfinite(loss), *mode.checks]).all()
        mode.checks.clear()
    return loss, fine, by_parameter


def check_known(stepped: SteppedTensors, gradients: Mapping[int, Tensor]) -> None:
    """Refuse gradients of parameters that the optimizer has not stepped yet."""
    if gradients.keys() - set(map(id, stepped.parameters)):
        raise CaptureError("a parameter has its first gradient after the optimizer's first step")


def check_trained(
    stepped: SteppedTensors, gradients: Mapping[int, Tensor], trained: set[int]
) -> None:
    """Refuse code in which other parameters have a gradient than have one without it."""
    for parameter in stepped.parameters:
        if (id(parameter) in gradients) != (id(parameter) in trained):
            other = "no" if id(parameter) in gradients else "a"
            raise CaptureError(f"compiled, {stepped.name(parameter)} would have {other} gradient")


def buffers(compiled: CompiledProgram, stepped: SteppedTensors) -> list[Quantity]:
    """Return what a program writes beside parameters and the optimizer's state."""
    known = set(map(id, stepped.tensors))
    return [
        Quantity(
            f"values of a buffer of shape {tuple(tensor.shape)} (number {place})",
            [tensor.detach().clone()],
        )
        for place, tensor in enumerate(compiled.written)
        if id(tensor) not in known
    ]


def refused(loss: float) -> FloatingPointError:
    """Return the error of a step that was not taken."""
    finite = math.isfinite(loss)
    return FloatingPointError(
        "the gradient is NaN or infinite" if finite else f"the loss is {loss}"
    )
