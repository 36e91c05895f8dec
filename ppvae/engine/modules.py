"""The one walk over the modules that a pair holds."""

import functools
import types
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pyro.infer.autoguide import AutoGuide
from torch import Tensor, nn

_DEPTH = 8  # objects within objects; a pair of modules is found long before
_EMPTY = types.CellType()
_CLOSED = (type, types.ModuleType, Tensor, np.ndarray, str, bytes, int, float, complex)


def roots_of(pair: object, *, scope: bool = False) -> dict[str, nn.Module]:
    """Return the outermost modules of a pair by path: the pair itself under "" if it is one.

    A pair may hold modules as attributes, in lists, tuples and dicts, in other objects, in
    partials, methods and closures of its functions; with `scope`, global variables that its
    functions read count too.

    Example:
        >>> class Plain:
        ...     def __init__(self):
        ...         self.networks = {"encoder": nn.Linear(3, 2)}
        >>> roots_of(Plain())
        {'networks/encoder': Linear(in_features=3, out_features=2, bias=True)}
    """
    if isinstance(pair, nn.Module):
        return {"": pair}
    walk = _Walk(scope)
    found = [*walk(pair)]
    for name in ("model", "guide"):
        found += walk(getattr(pair, name, None), (name,))
    return {"/".join(path).replace(".", "/"): module for path, module in found}


def modules_of(pair: object) -> list[nn.Module]:
    """Return every module of a pair, each once, those that its modules keep in plain objects too.

    Example:
        >>> from types import SimpleNamespace
        >>> layer = nn.Linear(2, 1)
        >>> modules_of(SimpleNamespace(parts=SimpleNamespace(layers=[layer]))) == [layer]
        True
    """
    found: dict[nn.Module, None] = {}
    walk = _Walk(scope=True)
    waiting = list(roots_of(pair, scope=True).values())
    while waiting:
        for module in waiting.pop(0).modules():
            if module in found:
                continue
            found[module] = None
            plain = {
                name: value
                for name, value in vars(module).items()
                if name not in _INTERNAL and not isinstance(value, nn.Module)
            }
            waiting += [held for _, held in walk(plain)]
    return list(found)


def unfinished(pair: object) -> bool:
    """Tell whether a pair has an automatic guide that takes its shapes from its first run."""
    guides = [module for module in modules_of(pair) if isinstance(module, AutoGuide)]
    return any(guide.prototype_trace is None for guide in guides)


def as_module(pair: object) -> nn.Module:
    """Return one module that holds the modules of a pair: the pair itself if it is a module.

    Example:
        >>> class Plain:
        ...     def __init__(self):
        ...         self.networks = {"encoder": nn.Linear(3, 2)}
        >>> list(as_module(Plain()).state_dict())
        ['networks/encoder.weight', 'networks/encoder.bias']
    """
    if isinstance(pair, nn.Module):
        return pair
    root = nn.Module()
    # Past `add_module`, which refuses names such as "train" that nn.Module itself has.
    root._modules.update(roots_of(pair))
    return root


_INTERNAL = frozenset(vars(nn.Module()))


class _Walk:
    """Visits objects, each once.

    Args:
        scope: visit the global variables that functions read, too.
    """

    def __init__(self, scope: bool) -> None:
        self.scope = scope
        # The objects too, for an id is another object's once its own is gone.
        self._seen: dict[int, object] = {}

    def __call__(
        self, value: object, path: tuple[str, ...] = ()
    ) -> Iterator[tuple[tuple[str, ...], nn.Module]]:
        """Yield the outermost modules that a value holds, each with its path."""
        if id(value) in self._seen or len(path) > _DEPTH:
            return
        self._seen[id(value)] = value
        if isinstance(value, nn.Module):
            yield path, value
        elif isinstance(value, types.MethodType):
            yield from self(value.__func__, path)
            yield from self(value.__self__, path)
        else:
            for name, part in self._parts(value).items():
                yield from self(part, (*path, str(name)))

    def _parts(self, value: Any) -> Mapping[Any, Any]:
        """Return what an object holds, by name."""
        if isinstance(value, dict):
            return value
        if isinstance(value, list | tuple):
            return dict(enumerate(value))
        if isinstance(value, functools.partial):
            return {"func": value.func, "args": value.args, "keywords": value.keywords}
        if isinstance(value, types.FunctionType):
            return _closed_over(value) | (_global_to(value) if self.scope else {})
        return {} if isinstance(value, _CLOSED) else getattr(value, "__dict__", {})


def _closed_over(function: types.FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: cell.cell_contents for name, cell in cells if cell != _EMPTY}


def _global_to(function: types.FunctionType) -> dict[str, Any]:
    scope = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    kinds = nn.Module | types.FunctionType
    return {name: value for name, value in scope.items() if isinstance(value, kinds)}
