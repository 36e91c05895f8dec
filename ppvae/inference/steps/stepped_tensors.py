"""What a torch optimizer changes in a step, and its step as a formula in a graph."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ppvae.engine.compilation import Quantity
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.updates import update_of

_ROUNDED = 10  # units of rounding of the largest gradient, up to which one counts as none


class SteppedTensors:
    """The parameters and the state of an optimizer that has taken a step before.

    Args:
        optim: the optimizer.
        parameters: the unconstrained parameters by name.

    Attributes:
        update: the optimizer's formula.
        entries: each parameter that has been stepped, its group, its state by name.
        tensors: parameters and states, in this order.

    Raises:
        CaptureError: if the optimizer has no formula.
    """

    def __init__(self, optim: JointOptim, parameters: Mapping[str, Tensor]) -> None:
        self.optim = optim
        self.update = update_of(optim.optimizer)
        self.entries = optim.stepped_parameters()
        self.tensors = [tensor for p, _, state in self.entries for tensor in (p, *state.values())]
        self._names = {id(parameter): name for name, parameter in parameters.items()}
        self._ids, self._options = [*map(id, self.tensors)], self._options_now()

    @property
    def parameters(self) -> list[Tensor]:
        """Return the parameters that have been stepped."""
        return [parameter for parameter, _, _ in self.entries]

    def name(self, parameter: Tensor) -> str:
        """Return what to call a parameter in a message."""
        return self._names.get(id(parameter), "a parameter")

    def numbers(self) -> Tensor:
        """Return what the formula is given at the next step, a row for each group."""
        step = self.optim.steps + 1
        groups = self.optim.groups
        return torch.tensor(
            [self.update.numbers(group, step) for group in groups], dtype=torch.float64
        )

    def valid(self) -> bool:
        """Tell whether tensors and options are still those that there were at construction."""
        stepped = self.optim.stepped_parameters()
        tensors = [tensor for p, _, state in stepped for tensor in (p, *state.values())]
        return self._options == self._options_now() and [*map(id, tensors)] == self._ids

    def _options_now(self) -> list[tuple[bool, ...]]:
        return [self.update.options(group) for group in self.optim.groups]

    def finite(self) -> bool:
        """Tell whether all of them are finite."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.tensors)

    def write(
        self,
        tensors: Sequence[Tensor],
        gradients: Mapping[int, Tensor],
        numbers: Tensor,
        fine: Tensor,
    ) -> Tensor:
        """Take a step in a graph, unless something is not finite; return whether it was taken.

        Args:
            tensors: what stands for `tensors` in the graph.
            gradients: those of the parameters that have one, by the parameter's id.
            numbers: what `numbers` returned.
            fine: whether loss and data allow a step.
        """
        clip = self.optim.clip_norm
        if clip is not None:
            squares = [gradient.square().sum().double() for gradient in gradients.values()]
            norm = torch.stack(squares).sum().sqrt()
            fine = fine & torch.isfinite(norm)
            shrunk = torch.where(norm > clip, clip / norm, 1.0)
        positions = {id(group): index for index, group in enumerate(self.optim.groups)}
        given = iter(tensors)
        for parameter, group, state in self.entries:
            value, old = next(given), {name: next(given) for name in state}
            gradient = gradients.get(id(parameter))
            if gradient is None:
                continue
            gradient = gradient if clip is None else gradient * shrunk
            row = numbers[positions[id(group)]].unbind()
            new, states = self.update.step(group, row, value, gradient, old)
            value.copy_(torch.where(fine, new, value))
            for name, tensor in states.items():
                old[name].copy_(torch.where(fine, tensor, old[name]))
        return fine

    def apply(self, gradients: Mapping[int, Tensor]) -> int:
        """Take a step of the torch optimizer with these gradients; return their number."""
        assert self.optim.optimizer is not None
        for parameter in self.parameters:
            parameter.grad = gradients.get(id(parameter))
        try:
            self.optim.optimizer.step()
        finally:
            self.optim.optimizer.zero_grad(set_to_none=True)
        return len(gradients)

    def gradients(self, gradients: Mapping[int, Tensor]) -> Quantity:
        """Return gradients by the parameter's id, to be compared one by one."""
        found = [p for p in self.parameters if id(p) in gradients]
        return Quantity(
            "gradient of",
            [gradients[id(parameter)] for parameter in found],
            parts=[self.name(parameter) for parameter in found],
        )

    def moves(self, before: Sequence[Tensor], gradients: Mapping[int, Tensor]) -> list[Quantity]:
        """Return the tensors as they are, to be compared with `before`.

        Where a gradient is rounding alone, code that adds up in parallel may have another one at
        each run; what Adam makes of it is left out.
        """
        largest = max((float(g.abs().max()) for g in gradients.values() if g.numel()), default=0.0)
        found = []
        for tensor, old in zip(self.tensors, before, strict=True):
            now = tensor.detach().clone()
            gradient = gradients.get(id(tensor))
            if gradient is not None:
                least = _ROUNDED * torch.finfo(gradient.dtype).eps * largest
                now = torch.where((gradient != 0) & (gradient.abs() <= least), old, now)
            parameter = any(tensor is known for known in self.parameters)
            found.append(
                Quantity("parameters" if parameter else "optimizer's state", [now], [old])
            )
        return found
