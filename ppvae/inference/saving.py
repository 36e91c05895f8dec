"""Saves a pair as structure and weights, and rebuilds it without running foreign code."""

import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ppvae.files import read_json, read_tensors, write_json, write_tensors

_STRUCTURE = "pair.json"
_WEIGHTS = "pair.safetensors"
_TRUSTED = ("ppvae", "torch.nn")

Module = TypeVar("Module", bound=nn.Module)


def save(pair: nn.Module, folder: str | Path) -> None:
    """Write a pair into a folder: `pair.json` (structure) and `pair.safetensors` (weights).

    The structure is the class of every module with its constructor's arguments, which a module
    keeps as attributes under their own names. A pair that cannot be rebuilt so is saved with its
    weights alone and loaded by `load(folder, pair=mine)`.

    Args:
        pair: the pair.
        folder: where to write; made if missing.

    Raises:
        TypeError: if the pair is no `nn.Module`.

    Example:
        >>> from ppvae import data, pairs
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(pairs.assemble(data.digits(), latent=2), folder)
        ...     load(folder).prior.features
        2
    """
    if not isinstance(pair, nn.Module):
        raise TypeError(f"save needs a pair that is an nn.Module, got {type(pair).__name__}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    structure: dict[str, Any] = {"dtype": str(_dtype(pair)).removeprefix("torch.")}
    try:
        structure["pair"] = _describe(pair)
    except _Indescribable as reason:
        structure["reason"] = f"{reason}"
    write_tensors(folder / _WEIGHTS, _tensors(pair))
    write_json(folder / _STRUCTURE, structure)


def load(
    folder: str | Path, *, pair: Module | None = None, trust: Sequence[str] = ()
) -> nn.Module | Module:
    """Read a pair from a folder that `save` wrote.

    Only classes of `ppvae` and `torch.nn` are instantiated, unless the caller names further
    modules to trust; nothing is unpickled.

    Args:
        folder: the folder.
        pair: a pair of the right structure, to be filled with the weights instead of a new one.
        trust: names of modules whose classes may be instantiated too, such as "mymodule".

    Raises:
        FileNotFoundError: if the folder holds no pair.
        ValueError: if a file is damaged, a class is not trusted, or weights and pair differ.
    """
    folder = Path(folder)
    structure = read_json(folder / _STRUCTURE)
    tensors = read_tensors(folder / _WEIGHTS)
    loaded: nn.Module
    if pair is not None:
        loaded = pair
    elif "pair" in structure:
        loaded = _build(structure["pair"], (*_TRUSTED, *trust), folder / _STRUCTURE)
        loaded.to(getattr(torch, structure.get("dtype", "float32")))
    else:
        raise ValueError(
            f"{folder / _STRUCTURE} holds no structure ({structure.get('reason', 'none given')}); "
            "build the pair and pass load(folder, pair=mine)"
        )
    own = _tensors(loaded)
    if {name: t.shape for name, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
        missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
        shapes = sorted(n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape)
        raise ValueError(
            f"{folder / _WEIGHTS} belongs to another pair: missing {missing}, not expected "
            f"{extra}, of other shape {shapes}"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
    return loaded


def _tensors(pair: nn.Module) -> dict[str, Tensor]:
    # Each tensor once: a prior may share the posterior's network.
    state = pair.state_dict(keep_vars=True)
    own = {**dict(pair.named_parameters()), **dict(pair.named_buffers())}
    return {name: tensor for name, tensor in own.items() if name in state}


def _dtype(pair: nn.Module) -> torch.dtype:
    return next(
        (p.dtype for p in pair.parameters() if p.is_floating_point()), torch.get_default_dtype()
    )


class _Indescribable(Exception):
    """A value that cannot be written as structure."""


def _describe(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return [_describe(item) for item in value]
    if isinstance(value, type):
        return {"type": f"{value.__module__}.{value.__qualname__}"}
    if isinstance(value, nn.Module):
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        if isinstance(value, nn.Sequential):
            return {"class": name, "positional": [_describe(item) for item in value]}
        return {
            "class": name,
            "arguments": {
                argument: _argument(value, argument) for argument in _arguments(type(value))
            },
        }
    raise _Indescribable(f"{type(value).__name__} is no number, string, class or module")


def _arguments(cls: type) -> list[str]:
    # torch's layers take dtype and device; the pair as a whole has those.
    return [
        name
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and not (name in ("device", "dtype") and cls.__module__.startswith("torch.nn"))
    ]


def _argument(module: nn.Module, name: str) -> Any:
    if not hasattr(module, name):
        raise _Indescribable(
            f"{type(module).__name__} does not keep its argument {name!r} as an attribute"
        )
    value = getattr(module, name)
    if name == "bias" and type(module).__module__.startswith("torch.nn"):
        return value is not None  # a layer keeps the parameter where its argument is a switch
    return _describe(value)


def _build(value: Any, trusted: Sequence[str], path: Path) -> Any:
    if isinstance(value, list):
        return [_build(item, trusted, path) for item in value]
    if not isinstance(value, dict):
        return value
    try:
        if "type" in value:
            return _find(value["type"], trusted, path)
        cls: Callable[..., Any] = _find(value["class"], trusted, path)
        positional = _build(value.get("positional", []), trusted, path)
        arguments = {
            name: _build(item, trusted, path) for name, item in value.get("arguments", {}).items()
        }
        return cls(*positional, **arguments)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not describe a pair: {error}") from error


def _find(name: str, trusted: Sequence[str], path: Path) -> type:
    module, _, attribute = str(name).rpartition(".")
    if not any(module == root or module.startswith(f"{root}.") for root in trusted):
        raise ValueError(
            f"{path} names the class {name!r}, which is neither of ppvae nor of torch.nn; "
            f"if you trust it, pass trust=[{module!r}]"
        )
    found = getattr(importlib.import_module(module), attribute)
    # A trusted module holds functions and foreign imports too: only its own modules are built.
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise ValueError(f"{path} names {name!r}, which is no nn.Module")
    return found
