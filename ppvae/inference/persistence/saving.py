"""Saves a pair as structure and weights; rebuilds it without running foreign code."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from ppvae.engine import Pair, as_module
from ppvae.inference.persistence.building import StructureError, build
from ppvae.inference.persistence.description import describe, dtype_of
from ppvae.inference.persistence.files import read_json, read_tensors, write_json, write_tensors
from ppvae.inference.persistence.first_runs import describe_autoguides, make_first_parameters
from ppvae.inference.persistence.pyro_store import KEY, entries, put_back, read_entries

_STRUCTURE = "pair.json"
_WEIGHTS = "pair.safetensors"
_OURS = ("ppvae.", "torch.nn.")
# Building may make more than it keeps: so many times the bytes of the weights, and these besides.
_TIMES, _FEW = 16, 2**26

AnyPair = TypeVar("AnyPair", bound=Pair)


def save(pair: Pair, folder: str | Path) -> None:
    """Write a pair into a folder: `pair.json` (structure) and `pair.safetensors` (weights).

    The structure is the class of every module with its constructor's arguments, which a module
    keeps as attributes of the same names. `save` tries it: it builds the pair again and compares.
    If the result differs, only the weights are saved; `pair.json` has the reason, and
    `load(folder, pair=mine)` loads them. Which parameters are frozen and which modules are in
    evaluation mode is saved too.

    If a class of the pair is neither of `ppvae` nor of `torch.nn`, all of Pyro's parameter store
    is saved too: names in it do not tell which pair a parameter belongs to.

    Args:
        pair: the pair.
        folder: where to write; created if missing.

    Raises:
        TypeError: if the pair is neither an `nn.Module` nor has a model and a guide.
        ValueError: if a parameter has no shape yet, or a constraint that cannot be written.

    Example:
        >>> from ppvae import data, pairs
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(pairs.assemble(data.digits(), latent=2), folder)
        ...     load(folder).prior.features
        2
    """
    if not isinstance(pair, nn.Module) and not (hasattr(pair, "model") and hasattr(pair, "guide")):
        raise TypeError(
            "save needs a pair, which is an nn.Module or has a model and a guide, got "
            f"{type(pair).__name__}"
        )
    modules = as_module(pair)
    tensors = _tensors(modules)
    for name, tensor in tensors.items():
        if torch.nn.parameter.is_lazy(tensor):
            raise ValueError(f"parameter {name!r} has no shape yet; run the pair once, then save")
    structure: dict[str, Any] = {
        "dtype": str(dtype_of(modules)).removeprefix("torch."),
        "frozen": [n for n, p in modules.named_parameters() if not p.requires_grad],
        "evaluating": [name for name, module in modules.named_modules() if not module.training],
    }
    try:
        if not isinstance(pair, nn.Module):
            raise StructureError(f"{type(pair).__name__} is no nn.Module")
        structure["pair"] = describe(pair)
    except StructureError as reason:
        structure["reason"] = f"{reason}"
    if autoguides := describe_autoguides(modules):
        structure["autoguides"] = autoguides
    foreign = [m for m in (pair, *modules.modules()) if not type(m).__module__.startswith(_OURS)]
    if foreign:
        structure["store"], stored = entries(tensors)
        tensors |= stored
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Tensors may share memory, which safetensors refuses.
    write_tensors(folder / _WEIGHTS, {name: t.detach().clone() for name, t in tensors.items()})
    # Written last, and naming the weights by their digest: old and new are never mixed.
    structure["weights"] = _digest(folder / _WEIGHTS)
    write_json(folder / _STRUCTURE, structure)


@overload
def load(folder: str | Path, *, pair: None = None, trust: Sequence[str] = ()) -> nn.Module: ...
@overload
def load(folder: str | Path, *, pair: AnyPair, trust: Sequence[str] = ()) -> AnyPair: ...
def load(folder: str | Path, *, pair: Any = None, trust: Sequence[str] = ()) -> Any:
    """Read a pair from a folder that `save` wrote.

    Only the public classes of `ppvae` and `torch.nn` are instantiated, unless the caller names
    others to trust; nothing is unpickled. Parameters that were frozen and modules that were in
    evaluation mode are so again. What was saved of Pyro's parameter store is put back there and
    replaces parameters of the same names.

    Args:
        folder: the folder.
        pair: a pair of the right structure that gets the weights, instead of a new one.
        trust: what may be instantiated too: "mymodule.MyPair", or "mymodule" for all classes that
            are defined in it.

    Raises:
        FileNotFoundError: if the folder holds no pair.
        OSError: if a file is a symbolic link that leaves the folder, or no plain file.
        ValueError: if a file is damaged, a class is not trusted, or weights and pair differ.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(nn.Linear(3, 2).eval(), folder)
        ...     load(folder), load(folder).training
        (Linear(in_features=3, out_features=2, bias=True), False)
    """
    path, weights = Path(folder) / _STRUCTURE, Path(folder) / _WEIGHTS
    structure = read_json(path)
    tensors = read_tensors(weights)
    if "weights" in structure and structure["weights"] != _digest(weights):
        raise ValueError(
            f"{weights} is not the file that {path} was saved with: saving was cut off between "
            "the two, or one was changed since; save the pair again"
        )
    frozen, evaluating = _names(structure, "frozen", path), _names(structure, "evaluating", path)
    try:
        stored = read_entries(structure.get("store", {}), tensors)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error!s:.300}") from error
    most = _TIMES * weights.stat().st_size + _FEW
    loaded = _built(structure, path, trust, most) if pair is None else pair
    modules = as_module(loaded)
    of_modules = {name: t for name, t in tensors.items() if not name.startswith(KEY)}
    try:
        make_first_parameters(modules, structure.get("autoguides", {}), of_modules)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error!s:.300}") from error
    own = _tensors(modules)
    _check(own, of_modules, weights)
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
            tensor.grad = None  # the gradient at other values
    # What the caller has frozen in his own pair, or put into evaluation mode, stays so.
    for name, parameter in modules.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)
        elif pair is None and parameter.is_floating_point():
            parameter.requires_grad_(True)
    for name, module in modules.named_modules():
        if name in evaluating or pair is None:
            module.training = name not in evaluating
    put_back(stored, own, tensors)
    return loaded


def _built(
    structure: Mapping[str, Any], path: Path, trust: Sequence[str], most: float
) -> nn.Module:
    if "pair" not in structure:
        raise ValueError(
            f"{path} holds no structure ({structure.get('reason', 'none given')}); "
            "build the pair and pass load(folder, pair=mine)"
        )
    name = structure.get("dtype", "float32")
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"{path} is damaged: it names no floating dtype, but {name!r:.60}")
    try:
        return build(structure["pair"], dtype, trust, most)
    except StructureError as error:
        raise ValueError(f"{path} does not describe a pair that can be built: {error}") from error


def _check(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor], weights: Path) -> None:
    missing, extra = sorted(own.keys() - tensors.keys()), sorted(tensors.keys() - own.keys())
    shapes = sorted(n for n in own.keys() & tensors.keys() if own[n].shape != tensors[n].shape)
    if missing or extra or shapes:
        hint = ""
        if extra and not missing and not shapes:
            hint = (
                "; if it is this pair, which has not run yet, call pair.model(*batch) and "
                "pair.guide(*batch) once, then load again"
            )
        raise ValueError(
            f"{weights} belongs to another pair: missing {missing}, not expected {extra}, of "
            f"other shape {shapes}{hint}"
        )


def _names(structure: Mapping[str, Any], key: str, path: Path) -> set[str]:
    names = structure.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{path} is damaged: expected a list of names under {key!r}")
    return set(names)


def _tensors(pair: nn.Module) -> dict[str, Tensor]:
    # Each tensor once: a prior may share the posterior's network.
    state = pair.state_dict(keep_vars=True)
    own = {**dict(pair.named_parameters()), **dict(pair.named_buffers())}
    return {name: tensor for name, tensor in own.items() if name in state}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
