"""A training step on parts of a minibatch: gradients and update as a graph each."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    CaptureMode,
    CompiledProgram,
    Generator,
    Quantity,
)
from ppvae.inference.steps.compiled_step import (
    buffers,
    check_known,
    check_trained,
    differentiated,
    refused,
)
from ppvae.inference.steps.minibatches import Minibatch
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.pyro_step import Steps
from ppvae.inference.steps.stepped_tensors import SteppedTensors


class DividedStep:
    """A step for one kind of minibatch, whose rows are taken in parts.

    One graph goes up to the gradients of a part. They are added up, also over processes, as those
    of uncompiled steps are: some may have code and others not. The other graph is the optimizer's
    update.

    Args:
        eager: the uncompiled steps; their optimizer has taken one before.
        parameters: the unconstrained parameters by name.
        example: a minibatch of the kind.
        generator: makes the graphs run.

    Raises:
        CaptureError: if the step would be another as graphs.
    """

    def __init__(
        self,
        eager: Steps,
        parameters: Mapping[str, Tensor],
        example: Minibatch,
        generator: Generator,
    ) -> None:
        assert isinstance(eager.optim, JointOptim) and eager.joint is not None
        self.eager, self.optim, self.joint = eager, eager.optim, eager.joint
        self.parameters = list(parameters.values())
        self.stepped = SteppedTensors(self.optim, parameters)
        self._trained: set[int] = set()
        self._example = example.divided(self.joint.parts)[0]
        inputs = [*self.parameters, *self._example.parts]
        self.compiled = CompiledProgram(self._gradients, inputs, generator, eager.programs)
        message = self.joint.message([None] * len(self.parameters))
        inputs = [*self.stepped.tensors, self.stepped.numbers(), message]
        self.update = CompiledProgram(self._update, inputs, generator)

    @property
    def programs(self) -> list[CompiledProgram]:
        """Return what is compiled."""
        return [self.compiled, self.update]

    def __call__(self, minibatch: Minibatch) -> float:
        """Take a step and return the loss before it, that of all processes.

        Raises:
            FloatingPointError: if the loss of one of them is not finite, or data outside the
                support; with a clipped norm, if that is not finite.
        """
        has = [id(parameter) in self._trained for parameter in self.parameters]
        loss, count = 0.0, 0.0
        messages = []
        parts = minibatch.divided(self.joint.parts)
        for part, weight in zip(parts, self.joint.weights(parts), strict=True):
            found, of_part = self._found(part)
            loss += weight * of_part
            count += weight * self.eager.own_datapoints(part)
            messages.append(found if weight == 1 else found.mul_(weight))
            if len(messages) == 2:
                messages[0] += messages.pop()
        (message,) = messages
        total = self.joint.exchange(message, has, loss, count, minibatch)
        if not math.isfinite(total):
            raise refused(total)
        return self._updated(message, total)

    def _found(self, minibatch: Minibatch) -> tuple[Tensor, float]:
        if minibatch.kind != self._example.kind:  # of uneven parts, one kind has code
            loss, gradients = self.eager.differentiated(minibatch)
            return self.joint.message(gradients), loss
        message, outcome = self.compiled([*self.parameters, *minibatch.parts])
        loss, fine = outcome.tolist()
        return message, loss if fine else math.nan

    def _updated(self, message: Tensor, loss: float) -> float:
        (taken,) = self.update([*self.stepped.tensors, self.stepped.numbers(), message])
        if not taken:
            raise refused(loss)
        self.optim.count_step()
        return loss

    def compare(self, minibatch: Minibatch) -> float:
        """Take a step by the graphs, if gradients and update are those without them.

        Raises:
            CaptureError: if they are not; nothing has been changed then, nor drawn or sent.
        """
        self.optim.sync_counters()
        steps, stepped = self.optim.steps, self.stepped
        part = minibatch.divided(self.joint.parts)[0]
        found: list[Tensor] = []

        def compiled() -> tuple[None, list[Quantity]]:
            message, loss = self._found(part)
            found.append(message)
            parts = zip(self.parameters, self.joint.split(message), strict=True)
            gradients = {id(p): part for p, part in parts if id(p) in self._trained}
            return None, self._quantities(loss, gradients)

        self.compiled.compare(
            lambda: self._uncompiled(part),
            compiled,
            tensors=self.parameters,
            parameters=self.parameters,
            keep=False,
        )
        message = found[0]
        gradients = dict(zip(map(id, self.parameters), self.joint.split(message), strict=True))
        gradients = {key: value for key, value in gradients.items() if key in self._trained}
        before = [tensor.detach().clone() for tensor in stepped.tensors]

        def stepped_by_torch() -> tuple[None, list[Quantity]]:
            for parameter in stepped.parameters:
                gradient = gradients.get(id(parameter))
                parameter.grad = None if gradient is None else gradient.clone()
            self.optim(stepped.parameters)
            return None, stepped.moves(before, gradients)

        self.update.compare(
            stepped_by_torch,
            lambda: (self._updated(message, 0.0), stepped.moves(before, gradients)),
            undo=lambda: self.optim.reset_counters(steps),
            tensors=[*self.optim.counters(), *stepped.tensors],
            keep=False,
        )
        self.compiled.compared = True
        return self(minibatch)

    def _uncompiled(self, minibatch: Minibatch) -> tuple[None, list[Quantity]]:
        loss, found = self.eager.differentiated(minibatch)
        pairs = zip(self.parameters, found, strict=True)
        gradients = {id(p): gradient for p, gradient in pairs if gradient is not None}
        check_trained(self.stepped, gradients, self._trained)
        return None, self._quantities(loss, gradients)

    def _quantities(self, loss: float, gradients: Mapping[int, Tensor]) -> list[Quantity]:
        return [
            Quantity("loss", [torch.tensor(loss).double()], tolerance=LOSS_TOLERANCE),
            self.stepped.gradients(gradients),
            *buffers(self.compiled, self.stepped),
        ]

    def _gradients(self, mode: CaptureMode, *flat: Tensor) -> list[Tensor]:
        parts = flat[len(self.parameters) :]
        loss, fine, gradients = differentiated(
            mode, self.eager.objective, self.parameters, self.eager.programs, self._example, parts
        )
        self._trained = set(gradients)
        check_known(self.stepped, gradients)
        with torch.no_grad():
            message = self.joint.message([gradients.get(id(p)) for p in self.parameters])
            return [message, torch.stack([loss, fine.double()])]

    def _update(self, mode: CaptureMode, *flat: Tensor) -> list[Tensor]:
        *tensors, numbers, message = flat
        with torch.no_grad():
            parts = zip(self.parameters, self.joint.split(message), strict=True)
            gradients = {id(p): part for p, part in parts if id(p) in self._trained}
            fine = torch.isfinite(message[0])
            return [self.stepped.write(tensors, gradients, numbers, fine)]
