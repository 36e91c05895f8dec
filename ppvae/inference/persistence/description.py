"""A module as JSON: the classes and arguments it is built of, and how to build it from them."""

import functools
import importlib
import inspect
import json
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from ppvae.engine import isolated, seeded
from ppvae.inference.persistence.likeness import difference_between
from ppvae.inference.persistence.names import class_name, present_name

_TRUSTED = ("ppvae", "torch.nn")
_DEPTH = 100  # far beyond any pair, and far from Python's limit on recursion
# `load` draws what the check drew; and no caller's own seed, by whose draws no difference showed.
_SEED = 1_398_342_917
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_RECURRENT = (
    *("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"),
    "bidirectional",
)
# These take *args, yet keep what they were given, or do without.
_KEPT: dict[type, tuple[str, ...]] = {
    nn.Identity: (),
    nn.GRU: _RECURRENT,
    nn.LSTM: (*_RECURRENT, "proj_size"),
    nn.RNN: (*_RECURRENT, "nonlinearity"),
}


class StructureError(Exception):
    """A module that cannot be described, or a description that cannot be built."""


def describe(module: nn.Module) -> dict[str, Any]:
    """Return what `build` makes the same module of, its weights aside.

    The class of every module is written with its constructor's arguments, which the module keeps
    as attributes under their own names. The description is tried before it is returned: the module
    built from it must have the same classes, parameters, buffers, ties and plain attributes. What
    a constructor makes of an argument and shows in none of these cannot be compared.

    Raises:
        StructureError: if there is no such description; the message says why.

    Example:
        >>> describe(nn.LeakyReLU(0.3))["arguments"]
        {'negative_slope': 0.3, 'inplace': False}
    """
    try:
        described: dict[str, Any] = _describe(module, (), {})
        written = json.loads(json.dumps(described))
        with isolated(module, _SEED):
            # Whatever the pair is made of is imported already: nothing is run for the first time.
            rebuilt = _build(written, _imported, (), {})
        rebuilt.to(dtype_of(module))
        difference = difference_between(module, rebuilt)
        if difference is not None:
            raise StructureError(f"rebuilt from its arguments it is another: {difference}")
        if _describe(rebuilt, (), {}) != described:
            raise StructureError("rebuilt from its arguments it has others")
    except RecursionError as error:
        raise StructureError("it is nested too deeply") from error
    return described


def build(described: Any, dtype: torch.dtype, trust: Sequence[str]) -> nn.Module:
    """Build the module that `describe` described, leaving the random state as it is.

    Args:
        described: the description, as JSON gave it.
        dtype: of the module's floating parameters and buffers.
        trust: names of modules, besides `ppvae` and `torch.nn`, whose classes may be built.

    Raises:
        StructureError: if this is no description, or one that may not or cannot be built.

    Example:
        >>> build({"class": "torch.nn.LeakyReLU", "arguments": {}}, torch.float32, trust=())
        LeakyReLU(negative_slope=0.01)
    """
    find = functools.partial(_import, trusted=(*_TRUSTED, *trust))
    with seeded(_SEED):
        module = _build(described, find, (), {})
    if not isinstance(module, nn.Module):
        raise StructureError(f"expected the class of a module, got {described!r:.60}")
    return module.to(dtype)


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of a module's first floating parameter, or torch's default."""
    return next(
        (p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype()
    )


def _describe(value: object, path: tuple[str, ...], seen: dict[int, str]) -> Any:
    if len(path) > _DEPTH:
        raise StructureError(f"it is nested deeper than {_DEPTH} levels")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        items = [_describe(item, (*path, str(index)), seen) for index, item in enumerate(value)]
        return items if isinstance(value, tuple) else {"list": items}
    if isinstance(value, type):
        return {"type": class_name(value)}
    if isinstance(value, functools.partial):
        return {
            "partial": _describe(value.func, (*path, "function"), seen),
            "positional": [
                _describe(item, (*path, str(index)), seen) for index, item in enumerate(value.args)
            ],
            "keywords": {
                name: _describe(item, (*path, name), seen) for name, item in value.keywords.items()
            },
        }
    if not isinstance(value, nn.Module):
        raise StructureError(
            f"{'.'.join(path)} is of type {type(value).__name__}, which is no number, string, "
            "class or module"
        )
    if id(value) in seen:
        return {"same": seen[id(value)]}
    seen[id(value)] = ".".join(path)
    cls = type(value)
    if any(cls.__init__ is container.__init__ for container in _CONTAINERS):
        children = {
            name: _describe(child, (*path, name), seen) for name, child in value._modules.items()
        }
        return {"class": class_name(cls), "children": children}
    arguments = {
        name: _describe(_argument(value, name), (*path, name), seen) for name in _arguments(value)
    }
    return {"class": class_name(cls), "arguments": arguments}


def _of_torch(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn.")


def _arguments(module: nn.Module) -> Sequence[str]:
    cls = type(module)
    if cls.__init__ is nn.Module.__init__:
        return ()  # which takes *args only to refuse them
    if cls in _KEPT:
        return _KEPT[cls]
    names = []
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise StructureError(
                f"{cls.__name__} takes {str(parameter).split(':')[0]}, which no attribute keeps"
            )
        if _of_torch(cls):
            # torch's layers take dtype and device; the pair as a whole has those. And a few take
            # what shows in their parameters alone, which are compared.
            optional = parameter.default is not parameter.empty
            if name in ("device", "dtype") or (optional and not hasattr(module, name)):
                continue
        names.append(name)
    return names


def _argument(module: nn.Module, name: str) -> object:
    if not hasattr(module, name):
        raise StructureError(
            f"{type(module).__name__} does not keep its argument {name!r} as an attribute"
        )
    value = getattr(module, name)
    if name == "bias" and _of_torch(type(module)) and not isinstance(value, bool):
        return value is not None  # a layer keeps the parameter where its argument is a switch
    return value


def _build(
    value: Any,
    find: Callable[[str], type],
    path: tuple[str, ...],
    built: dict[str, nn.Module],
) -> Any:
    if len(path) > _DEPTH:
        raise StructureError(f"it is nested deeper than {_DEPTH} levels")

    def items(of: Any, kind: type[list[Any]] | type[dict[str, Any]]) -> dict[str, Any]:
        if not isinstance(of, kind):
            raise StructureError(f"expected a {kind.__name__}, got {of!r:.60}")
        named = of.items() if isinstance(of, dict) else enumerate(of)
        return {str(key): _build(item, find, (*path, str(key)), built) for key, item in named}

    if isinstance(value, list):
        return tuple(items(value, list).values())
    if not isinstance(value, dict):
        return value
    if "list" in value:
        return list(items(value["list"], list).values())
    if "same" in value:
        if str(value["same"]) not in built:
            raise StructureError(f"it repeats {value['same']!r:.60}, which it does not hold")
        return built[str(value["same"])]
    if "type" in value:
        return find(value["type"])
    if "partial" in value:
        whole = items({"function": value["partial"]}, dict)["function"]
        if not isinstance(whole, type):
            raise StructureError(f"expected a partial of a class, got one of {whole!r:.60}")
        positional = items(value.get("positional", []), list).values()
        return functools.partial(whole, *positional, **items(value.get("keywords", {}), dict))
    if "class" not in value:
        raise StructureError(f"expected a class, got {value!r:.60}")
    cls: Any = find(value["class"])
    children, arguments = value.get("children"), items(value.get("arguments", {}), dict)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # whoever built the pair has seen them
            if children is None:
                module = cls(**arguments)
            elif issubclass(cls, nn.ModuleList):
                module = cls(items(children, dict).values())
            else:
                module = cls(OrderedDict(items(children, dict)))
    except StructureError:
        raise
    except Exception as error:  # a constructor may raise anything on what it does not expect
        first = next(iter(str(error).strip().splitlines()), "")
        raise StructureError(
            f"{value['class']} cannot be built of it ({type(error).__name__}: {first})"
        ) from error
    built[".".join(path)] = module
    return module


def _split(name: object) -> tuple[str, str]:
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise StructureError(f"{name!r:.60} is no name of a class")
    module, _, attribute = name.rpartition(".")
    return module, attribute


def _imported(name: str) -> type:
    try:
        module, attribute = _split(name)
        found: type = getattr(sys.modules[module], attribute)
    except (StructureError, KeyError, AttributeError) as error:
        raise StructureError(
            f"{name} is not found under its name: it was made in a function or another class, or "
            "by a parametrization"
        ) from error
    return _module_class(name, found)


def _import(name: object, trusted: Sequence[str]) -> type:
    module, attribute = _split(present_name(name) if isinstance(name, str) else name)

    def check(module: str) -> None:
        if not any(module == root or module.startswith(f"{root}.") for root in trusted):
            raise StructureError(
                f"the class {name!r} is neither of ppvae nor of torch.nn; if you trust it, pass "
                f"trust=[{module!r}]"
            )

    check(module)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise StructureError(f"there is no class {name!r} ({error})") from error
    found = _module_class(name, found)
    check(found.__module__)
    return found


def _module_class(name: object, found: Any) -> type:
    # A trusted module holds functions and foreign imports too: only its own modules are built.
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise StructureError(f"it names {name!r}, which is no nn.Module")
    return found
