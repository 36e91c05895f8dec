"""Builds a module from its description: its classes, and the arguments of their constructors."""

import functools
import math
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ppvae.engine import first_line, seeded
from ppvae.inference.persistence.closed_list import ClosedList

DEPTH = 100  # far beyond any pair, and far below Python's limit on recursion
# `describe` and `load` build under this seed, which nobody else uses: under the seed by which a
# pair was made, a constructor would repeat its draws, and `describe` would not notice them.
SEED = 1_398_342_917


_MAKERS = (
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint),
    *(torch.arange, torch.randperm, torch.eye, torch.tril_indices, torch.triu_indices),
)
_VALUE = 4  # bytes of a value at least


class StructureError(Exception):
    """A module that cannot be described, or a description that cannot be built."""


def build(
    described: Any, dtype: torch.dtype, trust: Sequence[str], most: float = math.inf
) -> nn.Module:
    """Build the module that `describe` described, leaving the random state as it is.

    Args:
        described: the description, as JSON gave it.
        dtype: of the module's floating parameters and buffers.
        trust: what may be built besides the classes of `ppvae` and `torch.nn`: `module.Name`, or a
            module for all classes that are defined in it.
        most: bytes of the tensors that may be made.

    Raises:
        StructureError: if this is no description, or one that may not or cannot be built, or is
            larger than that.

    Example:
        >>> build({"class": "torch.nn.LeakyReLU", "arguments": {}}, torch.float32, trust=())
        LeakyReLU(negative_slope=0.01)
    """
    find = functools.partial(_listed, of=ClosedList(trust))
    with seeded(SEED), _Bounded(most):
        module = Builder(find)(described)
    if not isinstance(module, nn.Module):
        raise StructureError(f"expected the class of a module, got {described!r:.60}")
    return module.to(dtype)


class _Bounded(TorchFunctionMode):
    """Refuses to make tensors of more bytes, all together, before memory is taken for them.

    A description of a few bytes can ask for layers of any size, and for any number of them.
    """

    def __init__(self, most: float) -> None:
        super().__init__()
        self.left = most

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _MAKERS:
            sizes = kwargs.get("size", args)
            sizes = sizes[0] if sizes and isinstance(sizes[0], Sequence) else sizes
            count = math.prod(size for size in sizes if isinstance(size, int))
            self.left -= _VALUE * (count**2 if function is torch.eye else count)
            if self.left < 0:
                raise StructureError("it asks for more than its weights have")
        return function(*args, **kwargs)


class Builder:
    """Builds what a description describes.

    Args:
        find: returns the class of a name, or raises a StructureError.
    """

    def __init__(self, find: Callable[[str], type]) -> None:
        self.find = find
        self._built: dict[str, nn.Module] = {}

    def __call__(self, value: Any, path: tuple[str, ...] = ()) -> Any:
        """Build the part at `path`."""
        if len(path) > DEPTH:
            raise StructureError(f"it is nested deeper than {DEPTH} levels")
        if isinstance(value, list):
            return tuple(self._items(value, list, path).values())
        if not isinstance(value, dict):
            return value
        if "list" in value:
            return list(self._items(value["list"], list, path).values())
        if "same" in value:
            if str(value["same"]) not in self._built:
                raise StructureError(f"it repeats {value['same']!r:.60}, which it does not hold")
            return self._built[str(value["same"])]
        if "type" in value:
            return self.find(value["type"])
        if "partial" in value:
            return self._partial(value, path)
        if "class" in value:
            return self._module(value, path)
        raise StructureError(f"expected a class, got {value!r:.60}")

    def _items(
        self, of: Any, kind: type[list[Any]] | type[dict[str, Any]], path: tuple[str, ...]
    ) -> dict[str, Any]:
        """Build the items of a list or dict, by index or key."""
        if not isinstance(of, kind):
            raise StructureError(f"expected a {kind.__name__}, got {of!r:.60}")
        named = of.items() if isinstance(of, dict) else enumerate(of)
        return {str(key): self(item, (*path, str(key))) for key, item in named}

    def _partial(self, value: dict[str, Any], path: tuple[str, ...]) -> Any:
        function = self(value["partial"], (*path, "function"))
        if not isinstance(function, type):
            raise StructureError(f"expected a partial of a class, got one of {function!r:.60}")
        positional = self._items(value.get("positional", []), list, path).values()
        keywords = self._items(value.get("keywords", {}), dict, path)
        return functools.partial(function, *positional, **keywords)

    def _module(self, value: dict[str, Any], path: tuple[str, ...]) -> nn.Module:
        cls: Any = self.find(value["class"])
        children, arguments = value.get("children"), value.get("arguments", {})
        arguments = self._items(arguments, dict, path)
        children = None if children is None else self._items(children, dict, path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # whoever built the pair has seen them
                if children is None:
                    module: nn.Module = cls(**arguments)
                elif issubclass(cls, nn.ModuleList):
                    module = cls(children.values())
                else:
                    module = cls(OrderedDict(children))
        except StructureError:
            raise
        except Exception as error:  # a constructor may raise anything on what it does not expect
            raise StructureError(
                f"{value['class']} cannot be built of it "
                f"({type(error).__name__}: {first_line(error):.200})"
            ) from error
        self._built[".".join(path)] = module
        return module


def imported(name: str) -> type:
    """Return the class of a name from the modules that are imported already.

    Raises:
        StructureError: if there is none, or it is no nn.Module.
    """
    try:
        module, attribute = _split(name)
        found: type = getattr(sys.modules[module], attribute)
    except (StructureError, KeyError, AttributeError) as error:
        raise StructureError(
            f"{name} is not found under its name: it was made in a function or another class, or "
            "by a parametrization"
        ) from error
    return _module_class(name, found)


def _listed(name: object, of: ClosedList) -> type:
    _split(name)
    if name not in of:
        roots = ("ppvae.", "torch.", "pyro.")
        trusting = f"; if you trust it, pass trust=[{name!r}], or --trust on the command line"
        hint = "" if str(name).startswith(roots) or len(str(name)) > 100 else trusting
        raise StructureError(
            f"the class {name!r:.100} is not among those of ppvae and torch.nn that a file may "
            f"name{hint}"
        )
    try:
        return _module_class(name, of.find(str(name)))
    except LookupError as error:
        raise StructureError(f"{error}") from error


def _split(name: object) -> tuple[str, str]:
    if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
        raise StructureError(f"{name!r:.60} is no name of a class")
    module, _, attribute = name.rpartition(".")
    return module, attribute


def _module_class(name: object, found: Any) -> type:
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise StructureError(f"it names {name!r}, which is no nn.Module")
    return found
