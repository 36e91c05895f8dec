"""Saves and restores Pyro's parameter store with its constraints."""

import warnings
from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae.engine.pyro_internals import stored_constraint

KEY = "pyro.param "
"""Prefix of the keys of tensors that only Pyro's store holds."""

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


def entries(own: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the entries of Pyro's store as JSON, and its unconstrained tensors by key.

    Args:
        own: tensors that are saved anyway, by name. Where the store holds one of them, as after
            `pyro.module`, its key is this name.

    Raises:
        ValueError: if a parameter's constraint cannot be written.
    """
    store = pyro.get_param_store()
    names = {id(tensor): name for name, tensor in own.items()}
    described, tensors = {}, {}
    for name, tensor in store.named_parameters():
        key = names.get(id(tensor))
        if key is None:
            key = KEY + name
            tensors[key] = tensor
        described[name] = {"tensor": key, "constraint": _describe(name, stored_constraint(name))}
    return described, tensors


def read_entries(
    described: Any, tensors: Mapping[str, Tensor]
) -> dict[str, tuple[str, constraints.Constraint]]:
    """Check what `entries` wrote: the key of each parameter's tensor, and its constraint.

    Raises:
        ValueError: if it is damaged; the message says where.
    """
    if not isinstance(described, dict):
        raise ValueError(f"expected the parameters of Pyro's store by name, got {described!r:.60}")
    found = {}
    for name, entry in described.items():
        if not isinstance(entry, dict) or str(entry.get("tensor")) not in tensors:
            raise ValueError(f"the parameter {name!r} of Pyro's store has no tensor")
        tensor = tensors[str(entry["tensor"])]
        try:
            found[name] = str(entry["tensor"]), _constraint(entry.get("constraint"), tensor)
        except (TypeError, ValueError, IndexError, RecursionError) as error:
            raise ValueError(
                f"the parameter {name!r} of Pyro's store has no known constraint, got "
                f"{entry.get('constraint')!r:.60}"
            ) from error
    return found


def put_back(
    described: Mapping[str, tuple[str, constraints.Constraint]],
    own: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
) -> None:
    """Put parameters into Pyro's store; those of the same names are replaced.

    Args:
        described: what `read_entries` returned.
        own: the loaded pair's own tensors by name; the store gets these very tensors.
        tensors: the other tensors by key; they are copied into tensors that the store holds.
    """
    store = pyro.get_param_store()
    device = next((tensor.device for tensor in own.values()), torch.device("cpu"))
    present = dict(store.named_parameters())
    unknown = []
    for name, (key, constraint) in described.items():
        held = present.get(name)
        if key in own:
            tensor = own[key]
        elif held is not None and held.shape == tensors[key].shape:
            tensor = held
            with torch.no_grad():
                tensor.copy_(tensors[key])
                tensor.grad = None
        elif "$$$" in name:
            # `pyro.module` would neither use such a tensor nor train its module then.
            unknown.append(name)
            continue
        else:
            tensor = tensors[key].to(device).requires_grad_()
        if tensor is not held and held is not None:
            del store[name]
        store.set_state({"params": {name: tensor}, "constraints": {name: constraint}})
    if unknown:
        modules = sorted({name.split("$$$")[0] for name in unknown})
        warnings.warn(
            f"the weights of pyro.module {', '.join(map(repr, modules))} were not loaded: no such "
            "module was found. If it belongs to the pair, keep it as an attribute of the pair, or "
            "run model and guide once and load again",
            stacklevel=3,
        )


def _describe(name: str, constraint: Any) -> list[Any]:
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
        base = _describe(name, constraint.base_constraint)
        return ["independent", base, constraint.reinterpreted_batch_ndims]
    raise ValueError(
        f"the parameter {name!r} of Pyro's store has the constraint {constraint}, which cannot be "
        f"saved; use one of pyro.distributions.constraints such as positive or interval"
    )


def _constraint(described: Any, tensor: Tensor) -> constraints.Constraint:
    if not isinstance(described, list):
        raise TypeError(described)
    known, *arguments = described
    if known == "independent":
        base, dimensions = arguments
        if type(dimensions) is not int or not 0 <= dimensions <= 100:
            raise ValueError(dimensions)
        return constraints.independent(_constraint(base, tensor), dimensions)
    if known in _NAMED and not arguments:
        return getattr(constraints, known)
    if len(arguments) != len(_BOUNDED.get(known, ())) or known not in _BOUNDED:
        raise ValueError(known)
    values = [
        torch.tensor(value, dtype=tensor.dtype) if isinstance(value, list) else float(value)
        for value in arguments
    ]
    return getattr(constraints, known)(*values)
