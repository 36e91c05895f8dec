"""torch's optimizers as formulas, to stand in one graph with loss and gradients.

What changes from step to step (learning rate, bias correction) comes in as numbers, worked out
once a step in double precision; options that are on or off are part of the graph.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ppvae.engine.compilation import Refused

Group = Mapping[str, Any]
"""The options of a torch optimizer's parameter group."""

Numbers = Sequence[Tensor]
"""What `numbers` returned, as the graph sees it."""

State = dict[str, Tensor]
"""The optimizer's tensors of one parameter, by torch's names, but for the counter of steps."""


class Update(ABC):
    """One family of optimizers."""

    @abstractmethod
    def options(self, group: Group) -> tuple[bool, ...]:
        """Return what the graph takes for granted."""

    @abstractmethod
    def numbers(self, group: Group, step: int) -> list[float]:
        """Return what the graph is given at step `step`, counted from 1."""

    @abstractmethod
    def move(
        self,
        group: Group,
        numbers: Sequence[Tensor],
        parameter: Tensor,
        gradient: Tensor,
        old: State,
    ) -> tuple[Tensor, State]:
        """Return the parameter and its state after the step."""


class Adam(Update):
    """Adam and AdamW (Kingma and Ba, 2015; Loshchilov and Hutter, 2019)."""

    def options(self, group: Group) -> tuple[bool, ...]:
        """Return whether there is decay, whether it is decoupled, AMSGrad, maximization."""
        names = ("weight_decay", "decoupled_weight_decay", "amsgrad", "maximize")
        return tuple(bool(group[name]) for name in names)

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return step size, second bias correction's root, complements of betas, eps, decay."""
        lr, (first, second) = float(group["lr"]), map(float, group["betas"])
        decay = float(group["weight_decay"]) * (lr if group["decoupled_weight_decay"] else 1)
        correction = math.sqrt(1 - second**step)
        return [lr / (1 - first**step), correction, 1 - first, 1 - second, group["eps"], decay]

    def move(
        self,
        group: Group,
        numbers: Sequence[Tensor],
        parameter: Tensor,
        gradient: Tensor,
        old: State,
    ) -> tuple[Tensor, State]:
        """Return the parameter and its state after the step."""
        rate, correction, first, second, eps, decay = numbers
        decaying, decoupled, amsgrad, maximize = self.options(group)
        gradient = -gradient if maximize else gradient
        if decaying and decoupled:
            parameter = parameter - parameter * decay
        elif decaying:
            gradient = gradient + parameter * decay
        mean = old["exp_avg"] + (gradient - old["exp_avg"]) * first
        square = old["exp_avg_sq"] + (gradient * gradient - old["exp_avg_sq"]) * second
        new = {"exp_avg": mean, "exp_avg_sq": square}
        if amsgrad:
            square = new["max_exp_avg_sq"] = torch.maximum(old["max_exp_avg_sq"], square)
        return parameter - rate * mean / (square.sqrt() / correction + eps), new


class Adamax(Update):
    """Adam by the infinity norm (Kingma and Ba, 2015)."""

    def options(self, group: Group) -> tuple[bool, ...]:
        """Return whether there is decay, and maximization."""
        return bool(group["weight_decay"]), bool(group["maximize"])

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return step size, complement of the first beta, the second, eps and decay."""
        first, second = map(float, group["betas"])
        rate = float(group["lr"]) / (1 - first**step)
        return [rate, 1 - first, second, group["eps"], group["weight_decay"]]

    def move(
        self,
        group: Group,
        numbers: Sequence[Tensor],
        parameter: Tensor,
        gradient: Tensor,
        old: State,
    ) -> tuple[Tensor, State]:
        """Return the parameter and its state after the step."""
        rate, first, second, eps, decay = numbers
        decaying, maximize = self.options(group)
        gradient = -gradient if maximize else gradient
        gradient = gradient + parameter * decay if decaying else gradient
        mean = old["exp_avg"] + (gradient - old["exp_avg"]) * first
        norm = torch.maximum(old["exp_inf"] * second, gradient.abs() + eps)
        return parameter - rate * mean / norm, {"exp_avg": mean, "exp_inf": norm}


class RMSprop(Update):
    """RMSprop (Hinton, lecture 6 of "Neural Networks for Machine Learning", 2012)."""

    def options(self, group: Group) -> tuple[bool, ...]:
        """Return whether there is decay, momentum, centering, and maximization."""
        return tuple(
            bool(group[name]) for name in ("weight_decay", "momentum", "centered", "maximize")
        )

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return learning rate, complement of alpha, eps, momentum and decay."""
        names = ("eps", "momentum", "weight_decay")
        return [float(group["lr"]), 1 - group["alpha"], *(float(group[name]) for name in names)]

    def move(
        self,
        group: Group,
        numbers: Sequence[Tensor],
        parameter: Tensor,
        gradient: Tensor,
        old: State,
    ) -> tuple[Tensor, State]:
        """Return the parameter and its state after the step."""
        rate, alpha, eps, momentum, decay = numbers
        decaying, with_momentum, centered, maximize = self.options(group)
        gradient = -gradient if maximize else gradient
        gradient = gradient + parameter * decay if decaying else gradient
        square = old["square_avg"] + (gradient * gradient - old["square_avg"]) * alpha
        new = {"square_avg": square}
        if centered:
            mean = new["grad_avg"] = old["grad_avg"] + (gradient - old["grad_avg"]) * alpha
            square = square - mean * mean
        step = gradient / (square.sqrt() + eps)
        if with_momentum:
            step = new["momentum_buffer"] = old["momentum_buffer"] * momentum + step
        return parameter - rate * step, new


class SGD(Update):
    """Stochastic gradient descent, with momentum (Sutskever et al., 2013)."""

    def options(self, group: Group) -> tuple[bool, ...]:
        """Return whether there is decay, momentum, Nesterov's, and maximization."""
        return tuple(
            bool(group[name]) for name in ("weight_decay", "momentum", "nesterov", "maximize")
        )

    def numbers(self, group: Group, step: int) -> list[float]:
        """Return learning rate, momentum, complement of dampening, and decay."""
        names = ("lr", "momentum", "weight_decay")
        rate, momentum, decay = (float(group[name]) for name in names)
        return [rate, momentum, 1 - group["dampening"], decay]

    def move(
        self,
        group: Group,
        numbers: Sequence[Tensor],
        parameter: Tensor,
        gradient: Tensor,
        old: State,
    ) -> tuple[Tensor, State]:
        """Return the parameter and its state after the step."""
        rate, momentum, dampening, decay = numbers
        decaying, with_momentum, nesterov, maximize = self.options(group)
        gradient = -gradient if maximize else gradient
        gradient = gradient + parameter * decay if decaying else gradient
        new = {}
        if with_momentum:
            buffer = new["momentum_buffer"] = (
                old["momentum_buffer"] * momentum + gradient * dampening
            )
            gradient = gradient + buffer * momentum if nesterov else buffer
        return parameter - rate * gradient, new


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
        Refused: if there is none here.
    """
    update = _UPDATES.get(type(optimizer))  # type: ignore[arg-type]
    if update is None or optimizer is None:
        known = ", ".join(kind.__name__ for kind in _UPDATES)
        raise Refused(
            f"{type(optimizer).__name__} has no compiled form; those that have one are {known}"
        )
    return update
