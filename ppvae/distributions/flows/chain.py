"""A sequence of transforms, as a module."""

import copy
import types
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pyro.distributions as dist
from torch import Tensor, nn
from torch.distributions import Transform

from ppvae.distributions.flows.flow import Flow

Constructor: TypeAlias = Callable[..., Any]
"""Makes a transform, given the number of features and, if there is a context, its size."""


class Chain(nn.Module):
    """Learned transforms z = f_n(... f_1(e; c); c) of a distribution, given a context c.

    Takes Pyro's transforms with and without context, and torch's. Every call makes new transforms
    from the parameters, because Pyro's and torch's transforms cache their last input and output.
    So a cache lives as long as its distribution and never belongs to older parameters.

    Args:
        constructors: called with `sizes`.
        sizes: the number of features, and the size of the context if there is one.

    Raises:
        TypeError: if a constructor does not return a transform, or hides its parameters.

    Example:
        >>> import torch
        >>> from pyro.distributions.transforms import permute, planar
        >>> base = dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1)
        >>> Chain([planar, permute], 2)(base, torch.zeros(0)).sample((5,)).shape
        torch.Size([5, 2])
    """

    def __init__(self, constructors: Sequence[Constructor], *sizes: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            part if hasattr(part, "condition") else _Fixed(part)
            for constructor in constructors
            for part in _flat(constructor(*sizes))
        )

    def forward(self, base: dist.Distribution, context: Tensor) -> dist.Distribution:
        """Return the transformed `base`, or `base` itself if there are no transforms.

        Args:
            base: a distribution over `(features,)` with the batch shape of the context.
            context: `(*, context)`, of size 0 if the transforms take no context.
        """
        parts: list[Any] = list(self.parts)
        transforms = [part.condition(context) for part in parts]
        return Flow(base, transforms, remake=self, context=context) if transforms else base


class _Fixed(nn.Module):
    """A transform without context; its tensors are saved and follow the module's device."""

    def __init__(self, transform: Any) -> None:
        super().__init__()
        if not isinstance(transform, Transform) or _hides_parameters(transform):
            raise TypeError(
                "a flow needs constructors that return a Transform which is an nn.Module if it "
                f"holds one, got {type(transform).__name__}; an inverse (.inv) of a module is none"
            )
        self.transform = transform
        for name, value in list(vars(transform).items()):
            if isinstance(value, Tensor):
                self.register_buffer(name, value)

    def condition(self, context: Tensor) -> Transform:
        """Return a copy that shares the parameters and has an empty cache."""
        transform = _fresh(self.transform)
        vars(transform).update(self._buffers)
        return transform


def _fresh(transform: Any) -> Transform:
    """Copy a transform and the transforms within it, but not their parameters."""
    fresh: Transform = copy.copy(transform)
    own, modules = vars(fresh), dict(vars(fresh).get("_modules", {}))
    for held in (own, modules):
        held.update({name: _fresh(v) for name, v in held.items() if isinstance(v, Transform)})
    for name, value in own.items():
        if getattr(value, "__self__", None) is transform:
            own[name] = types.MethodType(value.__func__, fresh)
    own["_modules"] = modules
    return fresh


def _hides_parameters(transform: Any) -> bool:
    values = list(vars(transform).values())
    held = [*values, *(one for value in values if isinstance(value, list) for one in value)]
    return not isinstance(transform, nn.Module) and any(isinstance(v, nn.Module) for v in held)


def _flat(transform: Any) -> list[Any]:
    """Return the parts of a composed transform, each of which has a cache of its own."""
    transform = getattr(transform, "transform", transform)  # Pyro's wrapper of one without context
    held = "transforms" if hasattr(transform, "condition") else "parts"
    parts = getattr(transform, held, None)
    return [transform] if parts is None else [one for part in parts for one in _flat(part)]
