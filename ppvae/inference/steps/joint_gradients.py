"""Loss and gradients of a minibatch whose rows are taken in parts, by several processes or not."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ppvae.engine import Processes
from ppvae.inference.steps.minibatches import Minibatch

_NUMBERS = 6  # at the head of a message: loss, datapoints, weight, failures and two wishes


class JointGradients:
    """Adds up what was found on parts of a minibatch, with one message between processes a step.

    The sum over all parts is that of the whole minibatch. Where the loss of some rows stands for
    all data, as that of a plate with `subsample_size` does, it is the mean over the parts,
    weighted by their numbers of rows.

    Args:
        processes: those that share the minibatch.
        parameters: the unconstrained parameters, the same in all processes.
        stands_for_all: whether the loss of some rows stands for all data.
        parts: in how many parts each process takes its rows.

    Attributes:
        interrupt: whether this process asks for the end of the training.
        checkpoint: whether this process asks for a checkpoint.
        interrupted: whether one of them asked for the end with the last message.
        checkpoint_due: whether one of them asked for a checkpoint.
        datapoints: how many datapoints the last loss stands for.
    """

    def __init__(
        self,
        processes: Processes,
        parameters: Sequence[Tensor],
        stands_for_all: bool,
        parts: int = 1,
    ) -> None:
        self.processes = processes
        self.parameters = parameters
        self.stands_for_all = stands_for_all
        self.parts = parts
        self.interrupt = self.checkpoint = False
        self.interrupted = self.checkpoint_due = False
        self.datapoints = 1.0
        self._dtype = parameters[0].dtype
        for parameter in parameters[1:]:
            self._dtype = torch.promote_types(self._dtype, parameter.dtype)
        self._start = _NUMBERS + len(parameters)

    def message(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """Return the gradients in a row, behind room for a head."""
        like = self.parameters[0]
        parts = [torch.zeros(self._start, dtype=self._dtype, device=like.device)]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            part = torch.zeros_like(parameter) if gradient is None else gradient
            parts.append(part.detach().reshape(-1).to(parts[0]))
        return torch.cat(parts)

    def weights(self, parts: Sequence[Minibatch]) -> list[float]:
        """Return by what the loss of each part of some rows counts in that of all of them."""
        rows = sum(part.rows for part in parts)
        return [part.rows / rows if self.stands_for_all else 1.0 for part in parts]

    def exchange(
        self,
        message: Tensor,
        has: Sequence[bool],
        loss: float,
        datapoints: float,
        minibatch: Minibatch,
    ) -> float:
        """Replace the gradients of this process's rows by those of the minibatch of all processes.

        Args:
            message: what `message` returned; it is written to.
            has: which parameters have a gradient.
            loss: of the rows; NaN if they have none.
            datapoints: how many datapoints it stands for.
            minibatch: the rows.

        Returns:
            The loss of all processes' rows, or NaN if a process has none.
        """
        failed = not math.isfinite(loss)
        if failed:
            message.zero_()
            loss = 0.0
        if self.processes.several:
            weight = (minibatch.rows if self.stands_for_all else 1) / minibatch.copies
            head = [loss * weight, datapoints * weight, weight, float(failed)]
            head += [float(self.interrupt), float(self.checkpoint), *map(float, has)]
            message[: self._start] = torch.tensor(head, dtype=torch.float64)
            if weight != 1:
                message[self._start :] *= weight
            self.processes.add(message)
            loss, datapoints, weight, failures, *asked = message[:_NUMBERS].tolist()
            failed = failures > 0
            self.interrupted, self.checkpoint_due = (wish > 0 for wish in asked)
            if self.stands_for_all and not failed:
                message[self._start :] /= weight
                loss, datapoints = loss / weight, datapoints / weight
        self.datapoints = datapoints
        return math.nan if failed else float(loss)

    def gradients(self, message: Tensor) -> list[Tensor | None]:
        """Return the gradients of a message; none where no process has one."""
        has = message[_NUMBERS : self._start].tolist()
        parts = self.split(message)
        return [part if number else None for part, number in zip(parts, has, strict=True)]

    def split(self, message: Tensor) -> list[Tensor]:
        """Return a message's part for each parameter."""
        sizes = [parameter.numel() for parameter in self.parameters]
        parts = message[self._start :].split(sizes)
        return [
            part.view_as(parameter).to(parameter.dtype)
            for parameter, part in zip(self.parameters, parts, strict=True)
        ]
