"""Distributions as functions of unconstrained parameters."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions.torch_distribution import ExpandedDistribution
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    Transform,
    TransformedDistribution,
    transform_to,
)

from ppvae.distributions.flows import Flow
from ppvae.engine import Unsupported


@dataclass(frozen=True)
class Parametrization:
    """A distribution as a function of unconstrained tensors.

    Args:
        raw: the tensors that give the original distribution.
        unbounded: which of their numbers are the parameter itself, since it has no bound.
        build: makes the distribution of such tensors.
    """

    raw: tuple[Tensor, ...]
    unbounded: tuple[Tensor, ...]
    build: Callable[[Sequence[Tensor]], Any]


@functools.singledispatch
def parametrize(distribution: Any) -> Parametrization:
    """Write a distribution as a function of unconstrained tensors.

    Each parameter that `arg_constraints` names is an independent tensor mapped by `transform_to`
    of its constraint. Where one parameter replaces another, such as a covariance and its Cholesky
    factor, the constructor's last is taken; other arguments of the constructor keep their values.
    Of `to_event`, the parameters are those of the base; so too of a transformed distribution,
    whose transforms may hold numbers, or parameters that all datapoints share. Of a `Flow`, they
    are those of the base and the context that its transforms depend on.

    Raises:
        Unsupported: if it cannot be built from such parameters; the message continues "its
            distribution ...".

    Example:
        >>> normal = torch.distributions.Normal(torch.zeros(3), torch.ones(3))
        >>> unconstrained = parametrize(normal)
        >>> unconstrained.build([raw + 1 for raw in unconstrained.raw]).scale
        tensor([2.7183, 2.7183, 2.7183])
    """
    family = type(distribution)
    if isinstance(inspect.getattr_static(family, "arg_constraints"), property):
        raise Unsupported(f"{family.__name__} has parameters whose ranges depend on each other")
    fixed, names = _arguments(distribution)
    missing = _required(family) - {*fixed, *names}
    if missing:
        raise Unsupported(
            f"{family.__name__} needs the argument {min(missing)!r}, which it does not keep as an "
            "attribute"
        )
    if not names:
        raise Unsupported(f"{family.__name__} has no parameters")
    batch_shape, raw, unbounded, transforms = distribution.batch_shape, [], [], []
    for name in names:
        constraint = distribution.arg_constraints[name]
        try:
            transform = transform_to(constraint)
        except NotImplementedError:
            raise Unsupported(
                f"{family.__name__} has the parameter {name!r}, whose range depends on others"
            ) from None
        value = torch.as_tensor(getattr(distribution, name))
        event_shape = value.shape[value.dim() - constraint.event_dim :]
        value = value.expand(*batch_shape, *event_shape)
        inverse = transform.inv(value)
        if not bool(inverse.isfinite().all()):
            raise Unsupported(f"{family.__name__} has {name!r} at the bound of its range")
        same = inverse.shape == value.shape
        raw.append(inverse.clone())
        unbounded.append(inverse == value if same else torch.zeros_like(inverse).bool())
        transforms.append(transform)

    def build(values: Sequence[Tensor]) -> Any:
        parameters = {
            name: transform(value)
            for name, transform, value in zip(names, transforms, values, strict=True)
        }
        return family(**fixed, **parameters, validate_args=False)

    return Parametrization(tuple(raw), tuple(unbounded), build)


@parametrize.register(Independent)
def _independent(distribution: "Independent[Distribution]") -> Parametrization:
    inner = parametrize(distribution.base_dist)
    dims = distribution.reinterpreted_batch_ndims
    return Parametrization(
        inner.raw, inner.unbounded, lambda values: inner.build(values).to_event(dims)
    )


@parametrize.register(ExpandedDistribution)
def _expanded(distribution: Any) -> Parametrization:
    base = distribution.base_dist
    if base.batch_shape != distribution.batch_shape:
        raise Unsupported(
            f"{type(base).__name__} has one draw for several datapoints; give it the batch shape "
            "of its plates"
        )
    return parametrize(base)


@parametrize.register(TransformedDistribution)
def _transformed(distribution: TransformedDistribution) -> Parametrization:
    if distribution.arg_constraints:  # a family of its own, such as LogNormal
        return parametrize.dispatch(object)(distribution)
    for transform in distribution.transforms:
        # A module's parameters are learned, and the same for all datapoints.
        if not isinstance(transform, torch.nn.Module) and not _only_numbers(transform):
            raise Unsupported(
                f"{type(distribution).__name__} has the transform {type(transform).__name__}, "
                "which has parameters of its own"
            )
    inner = parametrize(distribution.base_dist)
    family, transforms = type(distribution), distribution.transforms
    return Parametrization(
        inner.raw,
        inner.unbounded,
        lambda values: family(inner.build(values), transforms, validate_args=False),
    )


@parametrize.register(Flow)
def _flow(distribution: Flow) -> Parametrization:
    remake, context = distribution.remake, distribution.context
    if remake is None or context is None:
        raise Unsupported(
            "Flow keeps no function that makes it anew; make it by a Chain, as FlowPosterior does"
        )
    inner, count = parametrize(distribution.base_dist), context.shape[-1]
    free = context.expand(*distribution.batch_shape, count).clone()

    def build(values: Sequence[Tensor]) -> Any:
        *base, given = values if count else (*values, free)
        return remake(inner.build(base), given)

    own = (free,) if count else ()
    unbounded = tuple(torch.ones_like(part).bool() for part in own)
    return Parametrization((*inner.raw, *own), (*inner.unbounded, *unbounded), build)


def _arguments(distribution: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the constructor's fixed arguments and the names of its parameters."""
    fixed: dict[str, Any] = {}
    needed: list[str] = []
    alternatives: list[str] = []
    for name, argument in inspect.signature(type(distribution).__init__).parameters.items():
        if name in distribution.arg_constraints and hasattr(distribution, name):
            (alternatives if argument.default is None else needed).append(name)
        elif name not in ("self", "validate_args") and hasattr(distribution, name):
            fixed[name] = getattr(distribution, name)
    return fixed, needed + alternatives[-1:]


def _required(family: Any) -> set[str]:
    """Return the names of the constructor's arguments that have no default."""
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    arguments = list(inspect.signature(family.__init__).parameters.values())[1:]
    return {
        argument.name
        for argument in arguments
        if argument.default is inspect.Parameter.empty and argument.kind not in kinds
    }


def _only_numbers(transform: Transform) -> bool:
    """Tell whether a transform holds nothing but numbers, indices and other such transforms."""
    held = [
        value for name, value in vars(transform).items() if name not in ("_inv", "_cached_x_y")
    ]
    flat = [item for value in held for item in (value if isinstance(value, list) else [value])]
    return all(
        _only_numbers(item)
        if isinstance(item, Transform) and not isinstance(item, torch.nn.Module)
        else item is None
        or isinstance(item, int | float)
        or (isinstance(item, Tensor) and not item.is_floating_point())
        for item in flat
    )
