"""One training step as one graph: minibatch, loss, gradients and the optimizer's update."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ppvae.engine import random_state, set_random_state
from ppvae.engine.compilation import Refused, Watch, capture, loss_and_gradients
from ppvae.inference.objectives import LOSS_TOLERANCE, Generator, relative_error
from ppvae.inference.steps.minibatches import Minibatch
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.updates import update_of

_STATE_TOLERANCE = 1e-3  # relative; what is wrong differs by far more
_MOVE_TOLERANCE = 3e-2  # Adam makes a whole step of a gradient that is zero but for rounding


class WholeStep:
    """A step for one kind of minibatch, captured when it is made.

    It moves the tensors that the eager step moves: parameters, the optimizer's state, the pair's
    buffers. A step whose loss is not finite, or whose data lie outside their likelihood's support,
    moves no parameter. At the gradient it does not look, which would take a pass over it: one
    that is not finite leaves parameters or optimizer's state that are not, as `finite` tells.

    Args:
        objective: what is maximized.
        programs: model and guide.
        optim: the optimizer; it has taken a step before.
        parameters: the unconstrained parameters by name.
        example: a minibatch of the kind.
        generator: makes the graph run.

    Raises:
        Refused: if the step would be another as a graph.
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
        self.moved = optim.moved()  # parameter, its group, its state
        self._moved = [tensor for p, _, state in self.moved for tensor in (p, *state.values())]
        self._ids, self._options = [*map(id, self._moved)], self._options_now()
        inputs = [*self._moved, self._numbers(), *example.parts]
        self.graph = capture(self._program, inputs)
        self._lifted = self.graph.lifted
        every = [*inputs, *self._lifted]
        self.written = [every[place] for place in self.graph.written]
        self.code = generator(self.graph, every)

    def __call__(self, minibatch: Minibatch) -> float:
        """Take a step and return the loss before it.

        Raises:
            FloatingPointError: if the loss is not finite, or data outside the support; with a
                clipped norm, if that is not finite.
        """
        run = self.code.result()
        inputs = [*self._moved, self._numbers(), *minibatch.parts, *self._lifted]
        with torch.no_grad():
            outcome: Tensor = run(inputs)[0]
        loss, moved = outcome.tolist()
        if not moved:
            finite = math.isfinite(loss)
            raise FloatingPointError(
                "the gradient is NaN or infinite" if finite else f"the loss is {loss}"
            )
        self.optim.advance()
        return float(loss)

    def compared(self, minibatch: Minibatch, eager: Callable[[], float]) -> float:
        """Take a step by the graph after a look at where the eager step leads from here.

        Raises:
            Refused: if it leads elsewhere; nothing has been moved then, nor drawn.
        """
        self.optim.settle()
        everything = [*self.written, *self.optim.counters()]
        before = [tensor.detach().clone() for tensor in everything]
        taken, state = self.optim.taken, random_state()

        def back() -> None:
            self.optim.rewind(taken)
            set_random_state(state)
            with torch.no_grad():
                for tensor, value in zip(everything, before, strict=True):
                    tensor.copy_(value)

        theirs = eager()
        expected = [tensor.detach().clone() for tensor in self.written]
        back()
        try:
            ours = self(minibatch)
        except (FloatingPointError, RuntimeError) as failure:
            back()
            raise Refused(f"compiled, {failure}, instead of {theirs:.6g}") from failure
        if abs(ours - theirs) > LOSS_TOLERANCE * abs(theirs):
            back()
            raise Refused(f"compiled, the loss would be {ours:.6g} instead of {theirs:.6g}")
        families: dict[str, list[int]] = {}
        for place, tensor in enumerate(self.written):
            families.setdefault(self._family(place, tensor), []).append(place)
        for family, places in families.items():
            error = relative_error(
                [self.written[place] for place in places],
                [expected[place] for place in places],
                [before[place] for place in places],
            )
            if not error <= (_MOVE_TOLERANCE if family == "parameters" else _STATE_TOLERANCE):
                back()
                raise Refused(
                    f"compiled, the {family} would go elsewhere, by {error:.2g} of a step"
                )
        return ours

    def _family(self, place: int, tensor: Tensor) -> str:
        """Name what a tensor is compared with: its like, as each alone may hardly move."""
        if any(tensor is parameter for parameter in self.parameters):
            return "parameters"
        if any(tensor is moved for moved in self._moved):
            return "optimizer's state"
        return f"values of a buffer of shape {tuple(tensor.shape)} (number {place})"

    def finite(self) -> bool:
        """Tell whether parameters and optimizer's state are finite."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self._moved)

    def holds(self) -> bool:
        """Tell whether optimizer and options are still what the graph took for granted."""
        moved = [tensor for p, _, state in self.optim.moved() for tensor in (p, *state.values())]
        return self._options == self._options_now() and [*map(id, moved)] == self._ids

    def _options_now(self) -> list[tuple[bool, ...]]:
        return [self.update.options(group) for group in self.optim.groups]

    def _numbers(self) -> Tensor:
        step = self.optim.taken + 1
        groups = self.optim.groups
        return torch.tensor(
            [self.update.numbers(group, step) for group in groups], dtype=torch.float64
        )

    def _program(self, watch: Watch, *flat: Tensor) -> list[Tensor]:
        moved, (numbers, *parts) = flat[: len(self._moved)], flat[len(self._moved) :]
        losses, gradients = loss_and_gradients(
            watch, self.objective, self.parameters, *self.programs, *self._example.gathered(parts)
        )
        by_parameter = {
            id(parameter): gradient
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
            if gradient is not None
        }
        if not by_parameter:
            raise Refused("no parameter has a gradient")
        if by_parameter.keys() - {id(parameter) for parameter, _, _ in self.moved}:
            raise Refused("a parameter has its first gradient after the optimizer's first step")
        with torch.no_grad():
            loss = torch.stack([value.double().sum() for value in losses]).sum()
            # A reduction, so that it is a number in memory, not computed anew by every parameter.
            fine = torch.stack([torch.isfinite(loss), *watch.checks]).all()
            watch.checks.clear()
            clip = self.optim.clip_norm
            if clip is not None:
                squares = [gradient.square().sum().double() for gradient in by_parameter.values()]
                norm = torch.stack(squares).sum().sqrt()
                fine = fine & torch.isfinite(norm)
                shrunk = torch.where(norm > clip, clip / norm, 1.0)
            positions = {id(group): index for index, group in enumerate(self.optim.groups)}
            tensors = iter(moved)
            for parameter, group, state in self.moved:
                value, old = next(tensors), {name: next(tensors) for name in state}
                gradient = by_parameter.get(id(parameter))
                if gradient is None:
                    continue
                gradient = gradient if clip is None else gradient * shrunk
                row = numbers[positions[id(group)]].unbind()
                new, states = self.update.move(group, row, value, gradient, old)
                value.copy_(torch.where(fine, new, value))
                for name, tensor in states.items():
                    old[name].copy_(torch.where(fine, tensor, old[name]))
            return [torch.stack([loss, fine.double()])]
