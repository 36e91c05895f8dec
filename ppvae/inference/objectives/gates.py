"""Gates that stop gradients, or let them pass, behind the draws of a program."""

from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor


class Gate:
    """Passes values on; gradients pass back through it only while it is open.

    Example:
        >>> gate, z = Gate(), torch.ones(2, requires_grad=True)
        >>> gate.open = False
        >>> gate(z).sum().backward()
        >>> z.grad is None
        True
    """

    def __init__(self) -> None:
        self.open = True

    def __call__(self, value: Tensor) -> Tensor:
        """Return the value, behind the gate."""
        gated: Tensor = _Gated.apply(value, self)  # type: ignore[no-untyped-call]
        return gated


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, value: Tensor, gate: Gate) -> Tensor:
        context.gate = gate
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        return (gradients[0] if context.gate.open else None), None


class GatedDraws(Messenger):  # type: ignore[misc]
    """Puts a gate behind each draw of a program, before anything else sees it.

    To be entered outside of the trace that records the draws.

    Attributes:
        gate: the gate behind the draws.
        values: the values behind the gate, by site.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gate = Gate()
        self.values: dict[str, Tensor] = {}

    def _pyro_post_sample(self, message: Any) -> None:
        if message["is_observed"] or site_is_subsample(message):
            return
        message["value"] = self.values[message["name"]] = self.gate(message["value"])
