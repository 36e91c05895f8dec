"""The private parts of Pyro's parameter store; no other file uses them."""

from typing import Any

import pyro
from torch import Tensor


def stored() -> dict[str, Tensor]:
    """Return a copy of the store's unconstrained tensors by name."""
    return dict(pyro.get_param_store()._params)


def put_back(tensors: dict[str, Tensor]) -> None:
    """Give the store the unconstrained tensors back that `stored` returned."""
    held = pyro.get_param_store()._params
    held.clear()
    held.update(tensors)


def stored_constraint(name: str) -> Any:
    """Return the constraint of a parameter in the store.

    The public `get_state` has it too, but takes `.unconstrained` off the tensors.
    """
    return pyro.get_param_store()._constraints[name]


def remove_stored(name: str) -> None:
    """Remove a parameter from the store.

    The public `del` fails on the second of two names of one tensor.
    """
    store = pyro.get_param_store()
    store._param_to_name.pop(store._params.pop(name), None)
    store._constraints.pop(name)
