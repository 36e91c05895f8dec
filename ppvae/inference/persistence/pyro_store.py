"""Saves and restores Pyro's parameter store with its constraints."""

import warnings
from collections.abc import Mapping
from typing import Any

import pyro
import torch
from pyro.distributions import constraints
from torch import Tensor

from ppvae.engine.pyro_internals import remove_stored, stored_constraint
from ppvae.inference.persistence.described_constraints import describe_constraint, read_constraint

KEY = "pyro.param "
"""Prefix of the keys of tensors that only Pyro's store holds."""


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
        described[name] = {
            "tensor": key,
            "constraint": describe_constraint(name, stored_constraint(name)),
        }
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
            found[name] = (
                str(entry["tensor"]),
                read_constraint(entry.get("constraint"), tensor.dtype),
            )
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
            remove_stored(name)
        store.set_state({"params": {name: tensor}, "constraints": {name: constraint}})
    if unknown:
        modules = sorted({name.split("$$$")[0] for name in unknown})
        warnings.warn(
            f"the weights of pyro.module {', '.join(map(repr, modules))} were not loaded: no such "
            "module was found. If it belongs to the pair, keep it as an attribute of the pair, or "
            "run model and guide once and load again",
            stacklevel=3,
        )
