"""Which parameters of Pyro's store a pair uses, and which pair used them before."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from ppvae.engine.batches import Batch
from ppvae.engine.execution import run_pair
from ppvae.engine.isolation import isolated
from ppvae.engine.modules import modules_of
from ppvae.engine.pair import Pair
from ppvae.engine.pyro_internals import stored

# Pyro's store is global, and so is what is known of its tensors: the pair that used one last.
_USED_BY = WeakIdKeyDictionary()


def parameters_in_store(pair: Pair, batch: Batch) -> dict[str, Tensor]:
    """Return the parameters of a pair that live in Pyro's store, by name; run it once for that.

    `pyro.module` registers a module of the pair under a name that another pair may have taken. The
    pair then uses its own module all the same, and not the tensors of the store.
    """
    met = _Met()
    with isolated(pair, seed=0):
        with met:
            run_pair(pair, batch)
        found = _by_name(met.tensors)
    own = _own(pair)
    return {name: t for name, t in found.items() if not _of_module(name) or id(t) in own}


def taken_over(pair: Pair, tensors: Iterable[Tensor]) -> tuple[list[str], list[str]]:
    """Remember that a pair uses tensors of Pyro's store.

    Returns:
        The names of those that another pair used before, and of those whose name `pyro.module`
        gave to a module of another pair, so that the store does not have this pair's own.
    """
    used, own = _reference(pair), _own(pair)
    shared, elsewhere = [], []
    for name, tensor in _by_name(tensors).items():
        before = _USED_BY.get(tensor)
        foreign = before is not None and not _same(before(), pair)
        if _of_module(name) and id(tensor) not in own:
            if foreign:
                elsewhere.append(name)
                continue
        elif foreign:
            shared.append(name)
        _USED_BY[tensor] = used
    return shared, elsewhere


class _Met(Messenger):  # type: ignore[misc]
    """Collects the unconstrained tensors of all parameters inside the block."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []

    def _pyro_post_param(self, message: Any) -> None:
        self.tensors.append(message["value"].unconstrained())


def _by_name(tensors: Iterable[Tensor]) -> dict[str, Tensor]:
    used = {id(tensor) for tensor in tensors}
    return {name: tensor for name, tensor in stored().items() if id(tensor) in used}


def _of_module(name: str) -> bool:
    return "$$$" in name  # Pyro's own mark between a module's name and its parameter's


def _own(pair: Pair) -> set[int]:
    return {id(tensor) for module in modules_of(pair) for tensor in module.parameters()}


def _reference(pair: Pair) -> Callable[[], Any]:
    try:
        return weakref.ref(pair)
    except TypeError:  # such as a SimpleNamespace
        return lambda: pair


def _same(first: Any, second: Any) -> bool:
    """Tell whether two pairs are one: the same object, or the same model and guide."""
    if first is None or first is second:
        return first is second
    return bool(first.model == second.model and first.guide == second.guide)
