"""Constraints of Pyro and torch as data, from a closed list."""

from typing import Any

import torch
from pyro.distributions import constraints
from torch import Tensor

# Constraints that take arguments, which they keep as attributes of the same names.
_BOUNDED = {
    "greater_than": ("lower_bound",),
    "greater_than_eq": ("lower_bound",),
    "less_than": ("upper_bound",),
    "interval": ("lower_bound", "upper_bound"),
    "half_open_interval": ("lower_bound", "upper_bound"),
}
_NAMED = tuple(
    name
    for name in constraints.__all__
    if isinstance(getattr(constraints, name), constraints.Constraint)
)


def describe_constraint(name: str, constraint: Any) -> list[Any]:
    """Return a constraint as JSON.

    Args:
        name: of the parameter or latent, for the message.
        constraint: of Pyro or torch.

    Raises:
        ValueError: if it is none of those that can be written.

    Example:
        >>> describe_constraint("scale", constraints.greater_than(2.0))
        ['greater_than', 2.0]
    """
    for known in _NAMED:
        if type(constraint) is type(getattr(constraints, known)) and not vars(constraint):
            return [known]
    for known, bounds in _BOUNDED.items():
        if type(constraint) is getattr(constraints, known):
            values = [getattr(constraint, bound) for bound in bounds]
            return [known, *(v.tolist() if isinstance(v, Tensor) else float(v) for v in values)]
    if isinstance(constraint, type(constraints.softplus_positive)):
        return ["softplus_positive"]
    if isinstance(constraint, constraints.independent):
        base = describe_constraint(name, constraint.base_constraint)
        return ["independent", base, constraint.reinterpreted_batch_ndims]
    raise ValueError(
        f"the parameter {name!r} of Pyro's store has the constraint {constraint}, which cannot be "
        f"saved; use one of pyro.distributions.constraints such as positive or interval"
    )


def read_constraint(described: Any, dtype: torch.dtype) -> constraints.Constraint:
    """Return the constraint that `describe_constraint` wrote, with bounds of a dtype.

    Raises:
        TypeError: if it is no list.
        ValueError: if it names no constraint that `describe_constraint` writes.
        IndexError: if it lacks an argument.

    Example:
        >>> read_constraint(["greater_than", 2.0], torch.float32)
        GreaterThan(lower_bound=2.0)
    """
    if not isinstance(described, list):
        raise TypeError(described)
    known, *arguments = described
    if known == "independent":
        base, dimensions = arguments
        if type(dimensions) is not int or not 0 <= dimensions <= 100:
            raise ValueError(dimensions)
        return constraints.independent(read_constraint(base, dtype), dimensions)
    if known in _NAMED and not arguments:
        return getattr(constraints, known)
    if len(arguments) != len(_BOUNDED.get(known, ())) or known not in _BOUNDED:
        raise ValueError(known)
    values = [
        torch.tensor(value, dtype=dtype) if isinstance(value, list) else float(value)
        for value in arguments
    ]
    return getattr(constraints, known)(*values)
