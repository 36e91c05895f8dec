"""A module as JSON: the classes and arguments of which `build` makes the same module again."""

import functools
import inspect
import json
import types
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ppvae.engine import isolated
from ppvae.inference.persistence.building import DEPTH, SEED, Builder, StructureError, imported
from ppvae.inference.persistence.names import class_name

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_RECURRENT = (
    *("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"),
    "bidirectional",
)
# These take *args, but keep them as attributes, or do not need them.
_KEPT: dict[type, tuple[str, ...]] = {
    nn.Identity: (),
    nn.GRU: _RECURRENT,
    nn.LSTM: (*_RECURRENT, "proj_size"),
    nn.RNN: (*_RECURRENT, "nonlinearity"),
}
_COMPARABLE = (
    *(bool, int, float, complex, str, bytes, set, frozenset, type, torch.dtype, torch.device),
    *(types.ModuleType, types.BuiltinFunctionType),
)
_INTERNAL = frozenset(vars(nn.Module()))
_HOOKS = tuple(sorted(name for name in _INTERNAL if name.endswith("_hooks")))


def describe(module: nn.Module) -> dict[str, Any]:
    """Return a description of which `build` makes the same module, its weights aside.

    It has the class of every module with its constructor's arguments, which the module keeps as
    attributes of the same names. It is tried before it is returned: the module built from it must
    have the same classes, parameters, buffers, ties and plain attributes. Not compared is what a
    constructor makes of an argument and shows in none of these.

    Raises:
        StructureError: if there is no such description; the message says why.

    Example:
        >>> describe(nn.LeakyReLU(0.3))["arguments"]
        {'negative_slope': 0.3, 'inplace': False}
    """
    try:
        described: dict[str, Any] = _describe(module, (), {})
        written = json.loads(json.dumps(described))
        with isolated(module, SEED):
            # All classes of the pair are imported already: no module's code runs for this.
            rebuilt = Builder(imported)(written)
        rebuilt.to(dtype_of(module))
        difference = difference_between(module, rebuilt)
        if difference is not None:
            raise StructureError(f"rebuilt from its arguments it is another: {difference}")
        if _describe(rebuilt, (), {}) != described:
            raise StructureError("rebuilt from its arguments it has others")
    except RecursionError as error:
        raise StructureError("it is nested too deeply") from error
    return described


def dtype_of(module: nn.Module) -> torch.dtype:
    """Return the dtype of a module's first floating parameter, or torch's default."""
    return next(
        (p.dtype for p in module.parameters() if p.is_floating_point()), torch.get_default_dtype()
    )


def _describe(value: object, path: tuple[str, ...], seen: dict[int, str]) -> Any:
    """Describe the part at `path`; `seen` has the paths of modules that were described by id."""
    if len(path) > DEPTH:
        raise StructureError(f"it is nested deeper than {DEPTH} levels")

    def each(of: dict[str, Any]) -> dict[str, Any]:
        return {name: _describe(item, (*path, name), seen) for name, item in of.items()}

    def listed(of: Sequence[Any]) -> list[Any]:
        return list(each({str(index): item for index, item in enumerate(of)}).values())

    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return listed(value) if isinstance(value, tuple) else {"list": listed(value)}
    if isinstance(value, type):
        return {"type": class_name(value)}
    if isinstance(value, functools.partial):
        function = _describe(value.func, (*path, "function"), seen)
        positional, keywords = listed(value.args), each(value.keywords)
        return {"partial": function, "positional": positional, "keywords": keywords}
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
        return {"class": class_name(cls), "children": each(dict(value._modules))}
    arguments = {
        name: _describe(_argument(value, name), (*path, name), seen) for name in _arguments(value)
    }
    return {"class": class_name(cls), "arguments": arguments}


def _of_torch(cls: type) -> bool:
    return cls.__module__.startswith("torch.nn.")


def _arguments(module: nn.Module) -> Sequence[str]:
    """Return the names of a constructor's arguments."""
    cls = type(module)
    if cls.__init__ is nn.Module.__init__:
        return ()  # it takes *args only to refuse them
    if cls in _KEPT:
        return _KEPT[cls]
    names = []
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise StructureError(
                f"{cls.__name__} takes {str(parameter).split(':')[0]}, which no attribute keeps"
            )
        if _of_torch(cls):
            # torch's layers take dtype and device, which are saved for the pair as a whole. And a
            # few take what shows in their parameters alone, which are compared.
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


def difference_between(original: nn.Module, rebuilt: nn.Module) -> str | None:
    """Return a difference between two modules, saved values aside, or None if there is none.

    Example:
        >>> difference_between(nn.Linear(3, 2), nn.Linear(3, 2))
        >>> difference_between(nn.LeakyReLU(0.2), nn.LeakyReLU(0.3))
        "the attribute 'negative_slope' of LeakyReLU is 0.2, but would be 0.3"
    """
    left, right = _parts(original), _parts(rebuilt)
    for name in left | right:
        was, becomes = left.get(name, "nothing"), right.get(name, "nothing")
        if was != becomes:
            return f"{name or 'the pair'} is {was}, but would be {becomes}"
    same = _Same(original, rebuilt)
    others = dict(rebuilt.named_modules(remove_duplicate=False))
    for name, module in original.named_modules():
        left, right = _attributes(module), _attributes(others[name])
        for key in sorted(left | right):
            if key not in left or key not in right or not same(left[key], right[key]):
                where = f"{name} ({type(module).__name__})" if name else type(module).__name__
                return (
                    f"the attribute {key!r} of {where} is {left.get(key, 'absent')!r:.60}, but "
                    f"would be {right.get(key, 'absent')!r:.60}"
                )
    return None


def _parts(module: nn.Module) -> dict[str, Any]:
    """Return class or shape of every module, parameter and buffer, and with which one it is tied.

    Two tensors are tied where they share memory, as after `a.weight.data = b.weight.data`.
    """
    saved = module.state_dict(keep_vars=True)
    first: dict[object, str] = {}
    parts: dict[str, Any] = {}
    for name, part in module.named_modules(remove_duplicate=False):
        same = first.setdefault(id(part), name)
        parts[name] = class_name(type(part)) + ("" if same == name else f" shared with {same}")
    for kind, tensors in (
        ("parameter", module.named_parameters(remove_duplicate=False)),
        ("buffer", module.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in tensors:
            if torch.nn.parameter.is_lazy(tensor):
                parts[name] = f"a {kind} without a shape"
                continue
            memory = tensor.data_ptr() if tensor.numel() else id(tensor)
            same = first.setdefault(("memory", memory), name)
            parts[name] = (
                f"a {kind} of shape {tuple(tensor.shape)} and {tensor.dtype}"
                + ("" if name in saved else " that is not saved")
                + ("" if same == name else f" tied to {same}")
                + (" with gradients" if kind == "buffer" and tensor.requires_grad else "")
            )
    return parts


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Return a module's own attributes, numbers of hooks, and buffers that are not saved."""
    attributes = {
        name: value
        for name, value in vars(module).items()
        if name not in _INTERNAL
        and not name.startswith("_pyro")  # names that PyroModule keeps for itself
        and not isinstance(getattr(type(module), name, None), functools.cached_property)
    }
    hooks = {name: len(getattr(module, name) or ()) for name in _HOOKS}
    unsaved = {
        f"{name} (buffer)": module._buffers[name] for name in module._non_persistent_buffers_set
    }
    return {**attributes, **hooks, **unsaved}


class _Same:
    """Compares attributes of two modules.

    A part of one module equals the part of the other that has the same name. Objects that are no
    values, containers or functions are equal if class and attributes are.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self.names: list[dict[int, str]] = []
        for module in modules:
            saved = module.state_dict(keep_vars=True)
            buffers = [(name, b) for name, b in module.named_buffers() if name in saved]
            parts = (*module.named_modules(), *module.named_parameters(), *buffers)
            self.names.append({id(part): name for name, part in parts})
        # Objects are kept alive here: Python gives the id of a deleted object to a new one.
        self.compared: dict[tuple[int, int], tuple[Any, Any]] = {}

    def __call__(self, left: Any, right: Any) -> bool:
        if id(left) in self.names[0]:
            return self.names[0][id(left)] == self.names[1].get(id(right))
        if type(left) is not type(right):
            return type(left) in (int, float, np.float64) and left == right
        if isinstance(left, Tensor):
            left, right = left.detach().cpu(), right.detach().cpu()
            return left.dtype == right.dtype and torch.equal(left, right)
        if isinstance(left, nn.Module):
            return False  # it is no part of the module, so its weights are not saved
        if left is right or (id(left), id(right)) in self.compared:
            return True
        self.compared[id(left), id(right)] = left, right
        if isinstance(left, np.ndarray):
            return np.array_equal(left, right)
        if isinstance(left, dict):
            return left.keys() == right.keys() and all(self(left[k], right[k]) for k in left)
        if isinstance(left, list | tuple):
            return len(left) == len(right) and all(map(self, left, right))
        if isinstance(left, types.FunctionType) and left.__code__ is not right.__code__:
            return False
        if (content := _content(left)) is not None:
            return self(content, _content(right))
        both_nan = isinstance(left, float) and left != left and right != right
        return both_nan or not isinstance(left, _COMPARABLE) or bool(left == right)


def _content(value: Any) -> list[Any] | None:
    """Return what is to be compared of a function, reference or object."""
    if isinstance(value, weakref.ref):
        return [value()]
    if isinstance(value, types.FunctionType):
        cells = [cell for cell in value.__closure__ or () if cell != types.CellType()]
        closed = [cell.cell_contents for cell in cells]
        return [value.__defaults__, value.__kwdefaults__, *closed]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if hasattr(value, "__dict__") and not isinstance(value, type | types.ModuleType):
        return [vars(value)]
    return None
