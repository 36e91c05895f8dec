"""Whether a module that was rebuilt is like the original in all that is not saved with it."""

import functools
import types
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ppvae.inference.persistence.names import class_name

_COMPARABLE = (
    *(bool, int, float, complex, str, bytes, set, frozenset, type, torch.dtype, torch.device),
    *(types.ModuleType, types.BuiltinFunctionType),
)
_INTERNAL = frozenset(vars(nn.Module()))
_HOOKS = tuple(sorted(name for name in _INTERNAL if name.endswith("_hooks")))


def difference_between(original: nn.Module, rebuilt: nn.Module) -> str | None:
    """Say in what a rebuilt module is not the original, values that are saved aside.

    Example:
        >>> difference_between(nn.Linear(3, 2), nn.Linear(3, 2))
        >>> difference_between(nn.LeakyReLU(0.2), nn.LeakyReLU(0.3))
        "the attribute 'negative_slope' of LeakyReLU is 0.2, but would be 0.3"
    """
    for facts in (_classes, _tensors):
        left, right = facts(original), facts(rebuilt)
        for name in [*left, *(name for name in right if name not in left)]:
            if left.get(name) != right.get(name):
                was, becomes = left.get(name, "nothing"), right.get(name, "nothing")
                return f"{name or 'the pair'} is {was}, but would be {becomes}"
    same = _Same(original, rebuilt)
    others = dict(rebuilt.named_modules(remove_duplicate=False))
    for name, module in original.named_modules():
        where = f"{name} ({type(module).__name__})" if name else type(module).__name__
        left, right = _attributes(module), _attributes(others[name])
        for key in sorted(left.keys() | right.keys()):
            if key not in left or key not in right or not same(left[key], right[key]):
                return (
                    f"the attribute {key!r} of {where} is {left.get(key, 'absent')!r:.60}, but "
                    f"would be {right.get(key, 'absent')!r:.60}"
                )
    return None


def _classes(module: nn.Module) -> dict[str, str]:
    first: dict[int, str] = {}
    classes = {}
    for name, part in module.named_modules(remove_duplicate=False):
        shared = first.setdefault(id(part), name)
        classes[name] = class_name(type(part)) + (
            "" if shared == name else f" shared with {shared}"
        )
    return classes


def _tensors(module: nn.Module) -> dict[str, str]:
    kept = module.state_dict(keep_vars=True).keys()
    first: dict[int, str] = {}
    facts = {}
    for kind, tensors in (
        ("parameter", module.named_parameters(remove_duplicate=False)),
        ("buffer", module.named_buffers(remove_duplicate=False)),
    ):
        for name, tensor in tensors:
            # Tensors may be tied by their memory alone, as `a.weight.data = b.weight.data` does.
            place = tensor.data_ptr() if tensor.numel() else id(tensor)
            shared = first.setdefault(place, name)
            facts[name] = (
                f"a {kind} of shape {tuple(tensor.shape)} and {tensor.dtype}"
                + ("" if name in kept else " that is not saved")
                + ("" if shared == name else f" tied to {shared}")
                + (" with gradients" if kind == "buffer" and tensor.requires_grad else "")
            )
    return facts


def _attributes(module: nn.Module) -> dict[str, Any]:
    attributes = {
        name: value
        for name, value in vars(module).items()
        if name not in _INTERNAL
        and not name.startswith("_pyro")  # PyroModule's bookkeeping of names
        and not isinstance(getattr(type(module), name, None), functools.cached_property)
    }
    # A buffer that is not saved has the value that the constructor gives it.
    unsaved = {name: module._buffers[name] for name in module._non_persistent_buffers_set}
    hooks = {name: len(getattr(module, name) or ()) for name in _HOOKS}
    return {**attributes, **hooks, **{f"{name} (buffer)": unsaved[name] for name in unsaved}}


class _Same:
    """Compares attributes of two modules; a part of one equals the part of that name in the other.

    What is neither a value, a container nor a function equals by class and attributes.
    """

    def __init__(self, *modules: nn.Module) -> None:
        self.names: list[dict[int, str]] = []
        for module in modules:
            parts = (*module.named_modules(), *module.named_parameters())
            saved = module.state_dict(keep_vars=True)
            buffers = [(name, b) for name, b in module.named_buffers() if name in saved]
            self.names.append({id(part): name for name, part in (*parts, *buffers)})
        # Kept alive, for an id is another's once its object is gone.
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
            return False  # held where its weights are not saved
        if left is right or (id(left), id(right)) in self.compared:
            return True
        self.compared[id(left), id(right)] = left, right
        if isinstance(left, np.ndarray):
            return np.array_equal(left, right)
        if isinstance(left, dict):
            return left.keys() == right.keys() and all(self(left[k], right[k]) for k in left)
        if isinstance(left, list | tuple):
            return len(left) == len(right) and all(map(self, left, right))
        if isinstance(left, weakref.ref):
            return self(left(), right())
        if isinstance(left, types.FunctionType):
            if left.__code__ is not right.__code__:
                return False
            return self(*([f.__defaults__, f.__kwdefaults__, *_closed(f)] for f in (left, right)))
        if isinstance(left, types.MethodType):
            return self(left.__func__, right.__func__) and self(left.__self__, right.__self__)
        if isinstance(left, functools.partial):
            return self(
                (left.func, left.args, left.keywords), (right.func, right.args, right.keywords)
            )
        if hasattr(left, "__dict__") and not isinstance(left, type | types.ModuleType):
            return self(vars(left), vars(right))
        both_nan = isinstance(left, float) and left != left and right != right
        return both_nan or not isinstance(left, _COMPARABLE) or bool(left == right)


def _closed(function: types.FunctionType) -> list[Any]:
    empty = types.CellType()
    return [cell.cell_contents for cell in function.__closure__ or () if cell != empty]
