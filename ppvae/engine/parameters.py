"""Announces a module's parameters to Pyro and collects the parameters a program uses."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import effectful
from torch import Tensor, nn


@effectful(type="param")  # type: ignore[untyped-decorator]
def _parameter(value: Tensor, **_: Any) -> Tensor:
    return value


def announce(module: nn.Module) -> None:
    """Tell the inference that is running around the caller which parameters `module` trains.

    Pyro optimizes what it meets in `param` messages. Sending one for each parameter, instead of
    storing it under a name as `pyro.module` does, keeps every parameter local to its module: two
    pairs with the same parameter names train side by side.

    Args:
        module: the module whose parameters with `requires_grad` are announced.

    Example:
        >>> import pyro.poutine as poutine
        >>> with poutine.trace(param_only=True) as trace:
        ...     announce(nn.Linear(2, 1))
        >>> sorted(trace.trace.nodes)
        ['bias', 'weight']
    """
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            send(name, announcement(parameter))


def announcement(parameter: Tensor) -> Tensor:
    """Return a parameter's value, whose `unconstrained()` gives Pyro the tensor to optimize."""
    value = parameter.detach()
    value.unconstrained = lambda: parameter  # type: ignore[attr-defined]
    return value


def send(name: str, value: Tensor) -> None:
    """Send a parameter's announcement to the inference that is running around the caller."""
    _parameter(value, name=name)


class Collector(Messenger):  # type: ignore[misc]
    """Collects the unconstrained tensors of all `param` sites inside the block, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: dict[str, Tensor] = {}

    def _pyro_post_param(self, message: Any) -> None:
        name, parameter = message["name"], message["value"].unconstrained()
        if self.parameters.setdefault(name, parameter) is not parameter:
            raise ValueError(
                f"parameter {name!r} is announced by two different modules; hold both in one "
                "module, so that their names differ, or call pyro.clear_param_store() if one is "
                "that of another pair"
            )

    def unique(self) -> dict[str, Tensor]:
        """Return the tensors found, each once, under the first of its names."""
        unique: dict[int, str] = {}
        for name, parameter in self.parameters.items():
            unique.setdefault(id(parameter), name)
        return {name: self.parameters[name] for name in unique.values()}


def collect(program: Callable[[], object]) -> dict[str, Tensor]:
    """Return the unconstrained tensors that `program` would have optimized, by name, each once.

    Args:
        program: a callable without arguments that runs a model, a guide or both.

    Raises:
        ValueError: if one name stands for two different parameters.

    Example:
        >>> layer = nn.Linear(2, 1)
        >>> list(collect(lambda: announce(layer)))
        ['weight', 'bias']
    """
    with torch.no_grad(), Collector() as collector:
        program()
    found: dict[str, Tensor] = collector.unique()
    return found
