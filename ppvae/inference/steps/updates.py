"""torch's optimizers as formulas, to stand in one graph with loss and gradients.

Numbers that change from step to step (learning rate, bias correction) are inputs of the graph,
computed once a step in double precision; options that are on or off are part of the graph.
`torch.optim.adam.adam(..., capturable=True)` would compute the bias correction inside the graph,
where the code generator repeats its power for every element of every parameter.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ppvae.engine.compilation import CaptureError

Group = Mapping[str, Any]
"""The options of a torch optimizer's parameter group."""

Numbers = Sequence[Tensor]
"""What `numbers` returned, as the graph sees it."""

State = dict[str, Tensor]
"""The optimizer's tensors of one parameter, by torch's names, without the counter of steps."""


PROBE = 2.0**40
"""By how many gradients a step with the numbers of `probe` moves a parameter.

So many that the parameter itself is lost in rounding beside them.
"""


class Update(ABC):
    """One family of optimizers."""

    switches: ClassVar[tuple[str, ...]] = ("weight_decay", "maximize")
    """Names of the options of which the graph assumes that they stay on or off."""

    def options(self, group: Group) -> tuple[bool, ...]:
        """Return which switches are on."""
        return tuple(bool(group[name]) for name in self.switches)

    @abstractmethod
    def probe(self) -> list[float]:
        """Return numbers that show the gradient.

        With them, a step from a state of zeros moves a parameter by -`PROBE` times its gradient.
        """

    @abstractmethod
    def numbers(self, group: Group, step: int) -> list[float]:
        """Return what the graph is given at step `step`, counted from 1; the last is the decay."""

    def step(
        self, group: Group, numbers: Numbers, parameter: Tensor, gradient: Tensor, old: State
    ) -> tuple[Tensor, State]:
        """Return the parameter and its state after the step."""
        *numbers, decay = numbers
        gradient = -gradient if group["maximize"] else gradient
        if group["weight_decay"] and group.get("decoupled_weight_decay"):
            parameter = parameter - parameter * decay
        elif group["weight_decay"]:
            gradient = gradient + parameter * decay
        return self._step(group, numbers, parameter, gradient, old)

    @abstractmethod
    def _step(
        self, group: Group, numbers: Numbers, parameter: Tensor, gradient: Tensor, old: State
    ) -> tuple[Tensor, State]:
        """Do the same, after weight decay and the gradient's sign."""


class Adam(Update):
    """Adam and AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019)."""

    switches = ("weight_decay", "decoupled_weight_decay", "amsgrad", "maximize")

    def probe(self) -> list[float]:
        """Return numbers that show the gradient."""
        return [PROBE, 1.0, 1.0, 0.0, 1.0, 0.0]

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return step size, second bias correction's root, complements of betas, eps, decay."""
        lr, (first, second) = float(group["lr"]), map(float, group["betas"])
        decay = float(group["weight_decay"]) * (lr if group["decoupled_weight_decay"] else 1)
        correction = math.sqrt(1 - second**step)
        return [lr / (1 - first**step), correction, 1 - first, 1 - second, group["eps"], decay]

    def _step(
        self, group: Group, numbers: Numbers, parameter: Tensor, gradient: Tensor, old: State
    ) -> tuple[Tensor, State]:
        rate, correction, first, second, eps = numbers
        mean = old["exp_avg"] + (gradient - old["exp_avg"]) * first
        square = old["exp_avg_sq"] + (gradient * gradient - old["exp_avg_sq"]) * second
        new = {"exp_avg": mean, "exp_avg_sq": square}
        if group["amsgrad"]:
            square = new["max_exp_avg_sq"] = torch.maximum(old["max_exp_avg_sq"], square)
        return parameter - rate * mean / (square.sqrt() / correction + eps), new


class Adamax(Update):
    """Adam by the infinity norm (Kingma and Ba, 2015)."""

    def probe(self) -> list[float]:
        """Return numbers that show the gradient."""
        return [PROBE * PROBE, 1.0, 0.0, PROBE, 0.0]  # the norm is PROBE, plus a gradient

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return step size, complement of the first beta, the second, eps and decay."""
        first, second = map(float, group["betas"])
        rate = float(group["lr"]) / (1 - first**step)
        return [rate, 1 - first, second, group["eps"], group["weight_decay"]]

    def _step(
        self, group: Group, numbers: Numbers, parameter: Tensor, gradient: Tensor, old: State
    ) -> tuple[Tensor, State]:
        rate, first, second, eps = numbers
        mean = old["exp_avg"] + (gradient - old["exp_avg"]) * first
        norm = torch.maximum(old["exp_inf"] * second, gradient.abs() + eps)
        return parameter - rate * mean / norm, {"exp_avg": mean, "exp_inf": norm}


class RMSprop(Update):
    """RMSprop (Hinton, lecture 6 of "Neural Networks for Machine Learning", 2012)."""

    switches = ("weight_decay", "momentum", "centered", "maximize")

    def probe(self) -> list[float]:
        """Return numbers that show the gradient."""
        return [PROBE, 0.0, 1.0, 0.0, 0.0]

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return learning rate, complement of alpha, eps, momentum and decay."""
        names = ("eps", "momentum", "weight_decay")
        return [float(group["lr"]), 1 - group["alpha"], *(float(group[name]) for name in names)]

    def _step(
        self, group: Group, numbers: Numbers, parameter: Tensor, gradient: Tensor, old: State
    ) -> tuple[Tensor, State]:
        rate, alpha, eps, momentum = numbers
        square = old["square_avg"] + (gradient * gradient - old["square_avg"]) * alpha
        new = {"square_avg": square}
        if group["centered"]:
            mean = new["grad_avg"] = old["grad_avg"] + (gradient - old["grad_avg"]) * alpha
            square = square - mean * mean
        step = gradient / (square.sqrt() + eps)
        if group["momentum"]:
            step = new["momentum_buffer"] = old["momentum_buffer"] * momentum + step
        return parameter - rate * step, new


class SGD(Update):
    """Stochastic gradient descent, with momentum (Sutskever et al., 2013)."""

    switches = ("weight_decay", "momentum", "nesterov", "maximize")

    def probe(self) -> list[float]:
        """Return numbers that show the gradient."""
        return [PROBE, 0.0, 1.0, 0.0]

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return learning rate, momentum, complement of dampening, and decay."""
        names = ("lr", "momentum", "weight_decay")
        rate, momentum, decay = (float(group[name]) for name in names)
        return [rate, momentum, 1 - group["dampening"], decay]

    def _step(
        self, group: Group, numbers: Numbers, parameter: Tensor, gradient: Tensor, old: State
    ) -> tuple[Tensor, State]:
        rate, momentum, dampening = numbers
        if not group["momentum"]:
            return parameter - rate * gradient, {}
        buffer = old["momentum_buffer"] * momentum + gradient * dampening
        step = gradient + buffer * momentum if group["nesterov"] else buffer
        return parameter - rate * step, {"momentum_buffer": buffer}


_UPDATES: dict[type[torch.optim.Optimizer], Update] = {
    torch.optim.Adam: Adam(),
    torch.optim.AdamW: Adam(),
    torch.optim.Adamax: Adamax(),
    torch.optim.RMSprop: RMSprop(),
    torch.optim.SGD: SGD(),
}


def update_of(optimizer: torch.optim.Optimizer | None) -> Update:
    """Return the formula of a torch optimizer.

    Raises:
        CaptureError: if there is none here.
    """
    update = _UPDATES.get(type(optimizer))  # type: ignore[arg-type]
    if update is None or optimizer is None:
        known = ", ".join(kind.__name__ for kind in _UPDATES)
        raise CaptureError(
            f"{type(optimizer).__name__} has no compiled form; those that have one are {known}"
        )
    return update
