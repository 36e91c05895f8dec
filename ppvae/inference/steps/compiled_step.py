"""One training step as one graph: minibatch, loss, gradients and the optimizer's update."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    MOVE_TOLERANCE,
    CaptureError,
    CaptureMode,
    CompiledProgram,
    Generator,
    Quantity,
    loss_and_gradients,
)
from ppvae.inference.steps.minibatches import Minibatch
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.updates import update_of

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
        self._example = example
        self.update = update_of(optim.optimizer)
        self.stepped = optim.stepped_parameters()  # parameter, its group, its state
        self._tensors = [tensor for p, _, state in self.stepped for tensor in (p, *state.values())]
        self._ids, self._options = [*map(id, self._tensors)], self._options_now()
        inputs = [*self._tensors, self._numbers(), *example.parts]
        self.compiled = CompiledProgram(self._program, inputs, generator)

    def __call__(self, minibatch: Minibatch) -> float:
        """Take a step and return the loss before it.

        Raises:
            FloatingPointError: if the loss is not finite, or data outside the support; with a
                clipped norm, if that is not finite.
        """
        outcome = self.compiled([*self._tensors, self._numbers(), *minibatch.parts])[0]
        loss, stepped = outcome.tolist()
        if not stepped:
            finite = math.isfinite(loss)
            raise FloatingPointError(
                "the gradient is NaN or infinite" if finite else f"the loss is {loss}"
            )
        self.optim.count_step()
        return float(loss)

    def compare(self, minibatch: Minibatch, uncompiled: Callable[[], float]) -> float:
        """Take a step by the graph, if the uncompiled step from here has the same result.

        Raises:
            CaptureError: if it has not; nothing has been changed then, nor drawn.
        """
        self.optim.sync_counters()
        written, steps = self.compiled.written, self.optim.steps
        before = [tensor.detach().clone() for tensor in written]
        # Tensors of one kind together, for each alone may hardly change.
        kinds: dict[str, list[int]] = {}
        for place, tensor in enumerate(written):
            kinds.setdefault(self._kind(place, tensor), []).append(place)

        idle = self._idle()

        def measured(loss: float) -> tuple[float, Sequence[Quantity]]:
            now = [
                torch.where(idle[id(tensor)], old, tensor.detach())
                if id(tensor) in idle
                else tensor.detach().clone()
                for tensor, old in zip(written, before, strict=True)
            ]
            value = torch.tensor(loss, dtype=torch.float64)
            return loss, [
                Quantity("loss", [value], tolerance=LOSS_TOLERANCE),
                *(
                    Quantity(
                        kind,
                        [now[place] for place in places],
                        [before[place] for place in places],
                        **({"tolerance": MOVE_TOLERANCE} if kind == "parameters" else {}),
                    )
                    for kind, places in kinds.items()
                ),
            ]

        return self.compiled.compare(
            lambda: measured(uncompiled()),
            lambda: measured(self(minibatch)),
            undo=lambda: self.optim.reset_counters(steps),
            tensors=self.optim.counters(),
        )

    def _idle(self) -> dict[int, Tensor]:
        """Tell where the gradients of a parameter have been rounding errors alone, by its id.

        Adam makes a whole step of such a gradient, in a direction that rounding decides. A bias
        before a normalization has none but these.
        """
        means = [
            (parameter, state["exp_avg"].abs())
            for parameter, _, state in self.stepped
            if "exp_avg" in state and len(parameter.flatten()) > 0
        ]
        largest = max((float(mean.max()) for _, mean in means), default=0.0)
        return {
            id(parameter): mean <= _ROUNDED * torch.finfo(mean.dtype).eps * largest
            for parameter, mean in means
        }

    def _kind(self, place: int, tensor: Tensor) -> str:
        if any(tensor is parameter for parameter in self.parameters):
            return "parameters"
        if any(tensor is known for known in self._tensors):
            return "optimizer's state"
        return f"values of a buffer of shape {tuple(tensor.shape)} (number {place})"

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
