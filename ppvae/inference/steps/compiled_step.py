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
from ppvae.inference.steps.updates import PROBE, update_of

_ROUNDED = 10  # units of rounding of the largest gradient, up to which one counts as none


class CompiledStep:
    """A step for one kind of minibatch, captured when it is made.

    It changes the tensors that the uncompiled step changes: parameters, the optimizer's state, the
    pair's buffers. A step whose loss is not finite, or whose data lie outside their likelihood's
    support, changes no parameter. The gradient is not checked at each step, to save time. After a
    non-finite gradient, parameters or optimizer state are non-finite too; `finite` detects it.

    Args:
        objective: what is maximized.
        programs: model and guide.
        optim: the optimizer; it has taken a step before.
        parameters: the unconstrained parameters by name.
        example: a minibatch of the kind.
        generator: makes the graph run.

    Raises:
        CaptureError: if the step would be another as a graph.
    """

    def __init__(
        self,
        objective: ELBO,
        programs: tuple[Callable[..., Any], Callable[..., Any]],
        optim: JointOptim,
        parameters: Mapping[str, Tensor],
        example: Minibatch,
        generator: Generator,
    ) -> None:
        self.objective, self.programs, self.optim = objective, programs, optim
        self.parameters = list(parameters.values())
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._trained: set[int] = set()  # ids of the parameters that have a gradient
        self._example = example
        self.update = update_of(optim.optimizer)
        self.stepped = optim.stepped_parameters()  # parameter, its group, its state
        self._tensors = [tensor for p, _, state in self.stepped for tensor in (p, *state.values())]
        self._ids, self._options = [*map(id, self._tensors)], self._options_now()
        inputs = [*self._tensors, self._numbers(), *example.parts]
        self.compiled = CompiledProgram(self._program, inputs, generator, programs)

    def __call__(self, minibatch: Minibatch) -> float:
        """Take a step and return the loss before it.

        Raises:
            FloatingPointError: if the loss is not finite, or data outside the support; with a
                clipped norm, if that is not finite.
        """
        loss = self._take(minibatch, self._numbers())
        self.optim.count_step()
        return loss

    def _take(self, minibatch: Minibatch, numbers: Tensor) -> float:
        outcome = self.compiled([*self._tensors, numbers, *minibatch.parts])[0]
        loss, stepped = outcome.tolist()
        if not stepped:
            finite = math.isfinite(loss)
            raise FloatingPointError(
                "the gradient is NaN or infinite" if finite else f"the loss is {loss}"
            )
        return float(loss)

    def compare(self, minibatch: Minibatch, uncompiled: Callable[[], float]) -> float:
        """Take a step by the graph, if the uncompiled step from here has the same result.

        Compared are first loss, gradients and buffers, and then what the optimizer makes of one
        and the same gradient: of a gradient that is rounding alone, Adam makes a whole step.

        Raises:
            CaptureError: if it has not; nothing has been changed then, nor drawn.
        """
        self.optim.sync_counters()
        steps = self.optim.steps
        gradients: dict[int, Tensor] = {}
        with_undo: Any = {
            "undo": lambda: self.optim.reset_counters(steps),
            "tensors": [*self.optim.counters(), *self._tensors],
        }

        def probed() -> tuple[float, list[Quantity]]:
            loss, found = self._probed(minibatch)
            if not gradients:  # the first run is from the parameters as they are
                gradients.update(found)
            return loss, self._quantities(loss, found)

        self.compiled.compare(
            lambda: self._uncompiled(uncompiled),
            probed,
            parameters=[parameter for parameter, _, _ in self.stepped],
            keep=False,
            **with_undo,
        )
        before = [tensor.detach().clone() for tensor in self._tensors]

        return self.compiled.compare(
            lambda: (self._apply(gradients), self._moves(before, gradients)),
            lambda: (self(minibatch), self._moves(before, gradients)),
            **with_undo,
        )

    def _uncompiled(self, step: Callable[[], float]) -> tuple[float, list[Quantity]]:
        """Take the uncompiled step; return its loss, gradients and buffers."""
        assert self.optim.optimizer is not None
        gradients: dict[int, Tensor] = {}

        def look(optimizer: Any, args: Any, kwargs: Any) -> None:
            for parameter, _, _ in self.stepped:
                if parameter.grad is not None:
                    gradients[id(parameter)] = parameter.grad.detach().clone()

        hook = self.optim.optimizer.register_step_pre_hook(look)
        try:
            loss = step()
        finally:
            hook.remove()
        for parameter, _, _ in self.stepped:
            if (id(parameter) in gradients) != (id(parameter) in self._trained):
                name = self._names.get(id(parameter), "a parameter")
                other = "no" if id(parameter) in gradients else "a"
                raise CaptureError(f"compiled, {name} would have {other} gradient")
        return loss, self._quantities(loss, gradients)

    def _probed(self, minibatch: Minibatch) -> tuple[float, dict[int, Tensor]]:
        """Run the code; return its loss and its gradients, as its optimizer sees them.

        The numbers that the optimizer is given, and its state, are such that its step shows them.
        """
        before = []
        with torch.no_grad():
            for parameter, _, state in self.stepped:
                before.append(parameter.detach().clone())
                for tensor in state.values():
                    tensor.zero_()
        numbers = torch.tensor([self.update.probe() for _ in self.optim.groups]).double()
        loss = self._take(minibatch, numbers)
        gradients = {}
        for (parameter, group, _), old in zip(self.stepped, before, strict=True):
            if id(parameter) in self._trained:
                sign = -1 if group["maximize"] else 1
                gradients[id(parameter)] = (old - parameter.detach()) * (sign / PROBE)
        return loss, gradients

    def _apply(self, gradients: Mapping[int, Tensor]) -> int:
        """Take a step of the torch optimizer with these gradients; return their number."""
        assert self.optim.optimizer is not None
        for parameter, _, _ in self.stepped:
            parameter.grad = gradients.get(id(parameter))
        try:
            self.optim.optimizer.step()
        finally:
            self.optim.optimizer.zero_grad(set_to_none=True)
        return len(gradients)

    def _quantities(self, loss: float, gradients: Mapping[int, Tensor]) -> list[Quantity]:
        known = {id(tensor) for tensor in self._tensors}
        return [
            Quantity("loss", [torch.tensor(loss).double()], tolerance=LOSS_TOLERANCE),
            Quantity(
                "gradient of",
                [gradients[id(p)] for p, _, _ in self.stepped if id(p) in gradients],
                parts=[
                    self._names.get(id(p), "a parameter")
                    for p, _, _ in self.stepped
                    if id(p) in gradients
                ],
            ),
            *(
                Quantity(
                    f"values of a buffer of shape {tuple(tensor.shape)} (number {place})",
                    [tensor.detach().clone()],
                )
                for place, tensor in enumerate(self.compiled.written)
                if id(tensor) not in known
            ),
        ]

    def _moves(self, before: Sequence[Tensor], gradients: Mapping[int, Tensor]) -> list[Quantity]:
        """Return parameters and the optimizer's state.

        Where a gradient is rounding alone, code that adds up in parallel may have another one at
        each run; what Adam makes of it is left out.
        """
        largest = max((float(g.abs().max()) for g in gradients.values() if g.numel()), default=0.0)
        found = []
        for tensor, old in zip(self._tensors, before, strict=True):
            now = tensor.detach().clone()
            gradient = gradients.get(id(tensor))
            if gradient is not None:
                least = _ROUNDED * torch.finfo(gradient.dtype).eps * largest
                now = torch.where((gradient != 0) & (gradient.abs() <= least), old, now)
            parameter = any(tensor is known for known, _, _ in self.stepped)
            found.append(
                Quantity("parameters" if parameter else "optimizer's state", [now], [old])
            )
        return found

    def finite(self) -> bool:
        """Tell whether parameters and optimizer's state are finite."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self._tensors)

    def valid(self) -> bool:
        """Tell whether optimizer and options are still those that the graph was captured with."""
        stepped = self.optim.stepped_parameters()
        tensors = [tensor for p, _, state in stepped for tensor in (p, *state.values())]
        return self._options == self._options_now() and [*map(id, tensors)] == self._ids

    def _options_now(self) -> list[tuple[bool, ...]]:
        return [self.update.options(group) for group in self.optim.groups]

    def _numbers(self) -> Tensor:
        step = self.optim.steps + 1
        groups = self.optim.groups
        return torch.tensor(
            [self.update.numbers(group, step) for group in groups], dtype=torch.float64
        )

    def _program(self, mode: CaptureMode, *flat: Tensor) -> list[Tensor]:
        tensors, (numbers, *parts) = flat[: len(self._tensors)], flat[len(self._tensors) :]
        losses, gradients = loss_and_gradients(
            mode, self.objective, self.parameters, *self.programs, *self._example.gathered(parts)
        )
        by_parameter = {
            id(parameter): gradient
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
            if gradient is not None
        }
        self._trained = set(by_parameter)
        if not by_parameter:
            raise CaptureError("no parameter has a gradient")
        if by_parameter.keys() - {id(parameter) for parameter, _, _ in self.stepped}:
            raise CaptureError(
                "a parameter has its first gradient after the optimizer's first step"
            )
        with torch.no_grad():
            loss = torch.stack([value.double().sum() for value in losses]).sum()
            # A reduction, so that it is one number in memory, not computed for every parameter.
            fine = torch.stack([torch.isfinite(loss), *mode.checks]).all()
            mode.checks.clear()
            clip = self.optim.clip_norm
            if clip is not None:
                squares = [gradient.square().sum().double() for gradient in by_parameter.values()]
                norm = torch.stack(squares).sum().sqrt()
                fine = fine & torch.isfinite(norm)
                shrunk = torch.where(norm > clip, clip / norm, 1.0)
            positions = {id(group): index for index, group in enumerate(self.optim.groups)}
            given = iter(tensors)
            for parameter, group, state in self.stepped:
                value, old = next(given), {name: next(given) for name in state}
                gradient = by_parameter.get(id(parameter))
                if gradient is None:
                    continue
                gradient = gradient if clip is None else gradient * shrunk
                row = numbers[positions[id(group)]].unbind()
                new, states = self.update.step(group, row, value, gradient, old)
                value.copy_(torch.where(fine, new, value))
                for name, tensor in states.items():
                    old[name].copy_(torch.where(fine, tensor, old[name]))
            return [torch.stack([loss, fine.double()])]
