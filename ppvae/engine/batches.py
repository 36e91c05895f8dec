"""The types of the `data` argument, and its conversion to a batch of tensors."""

import inspect
import itertools
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from ppvae.data import Dataset, LazyRows
from ppvae.engine.modules import modules_of

Batch: TypeAlias = tuple[Tensor, ...]
"""Tensors whose first dimension is data, passed on as `model(*batch)`."""

Array: TypeAlias = Tensor | NDArray[np.generic]
Data: TypeAlias = Array | tuple[Array, ...] | list[Array] | Dataset | TensorDataset
"""A tensor or array `(data, *event)`, a tuple of such, or a dataset."""


def as_batch(data: Data, pair: object, *, split: str, argument: str = "data") -> Batch:
    """Turn `data` into tensors on the pair's device, floating values in the pair's dtype.

    The datapoints themselves, the first tensor, become floating values too, unless the pair looks
    them up in an embedding. What NumPy can see as an array, such as a table of pandas or polars,
    is taken as one.

    Args:
        data: a tensor or array, a tuple of such, or a dataset, of which `split` is taken.
        pair: the pair whose first floating tensor gives dtype and device.
        split: "train", "validation" or "test".
        argument: what to call the data in an error.

    Raises:
        TypeError: if something is neither tensor nor numeric array, or they are more than the
            pair takes.
        ValueError: if there are no rows, their numbers differ, or a value is NaN, infinite or
            masked.

    Example:
        >>> batch = as_batch(np.zeros((3, 2)), torch.nn.Linear(2, 1), split="test")
        >>> batch[0].dtype
        torch.float32
    """
    if isinstance(data, Dataset):
        data = data.batch(split)
    return checked(
        tuple(as_tensor(part, argument) for part in _parts_of(data)), pair, argument=argument
    )


def _parts_of(data: object) -> tuple[object, ...]:
    """Return the arrays of a batch: those of a tuple, list or `TensorDataset`, or the data."""
    if isinstance(data, TensorDataset):
        return data.tensors
    return tuple(data) if isinstance(data, tuple | list) else (data,)


def checked(
    batch: Batch, pair: object, *, argument: str = "data", count: bool = True, real: bool = True
) -> Batch:
    """Check values and numbers of rows; make contiguous and move to a pair's device and dtype.

    With `count`, the pair's programs must take so many tensors; with `real`, the datapoints become
    floating values. Where the pair says so, NaN marks what is missing of a datapoint.
    """
    if not batch:
        raise ValueError(f"{argument} is an empty tuple; expected at least one tensor")
    for place, tensor in enumerate(batch):
        if tensor.dim() == 0 or len(tensor) == 0:
            raise ValueError(
                f"{argument} has shape {tuple(tensor.shape)}; expected at least one datapoint "
                "along the first dimension"
            )
        check_finite(tensor, argument, gaps=not place and takes_gaps(pair))
    rows = [len(tensor) for tensor in batch]
    if len(set(rows)) > 1:
        raise ValueError(
            f"{argument} holds tensors of {rows} rows; expected the same number in each"
        )
    if count:
        _check_number(batch, pair, argument)
    # Networks may take views of their input, as they can of the rows of a minibatch.
    batch = tuple(tensor.contiguous() for tensor in batch)
    like = reference(pair)
    if like is None:
        return batch
    floating = [tensor.is_floating_point() for tensor in batch]
    floating[0] = floating[0] or (real and not _looks_up(pair))
    moved = tuple(
        _moved(tensor, like.device, like.dtype if cast else tensor.dtype)
        for tensor, cast in zip(batch, floating, strict=True)
    )
    for place, (before, after) in enumerate(zip(batch, moved, strict=True)):
        if before.dtype != after.dtype and before.dtype.itemsize > after.dtype.itemsize:
            name = f"{argument} in the pair's {after.dtype}"
            check_finite(after, name, gaps=not place and takes_gaps(pair))
    return moved


def _moved(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return a tensor on a device; the processor does not wait for one that goes to a GPU."""
    tensor = tensor.to(dtype=dtype)
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def takes_gaps(pair: object) -> bool:
    """Tell whether NaN marks a missing value of a datapoint: the pair's `missing_as_nan`."""
    return bool(getattr(pair, "missing_as_nan", False))


def check_finite(tensor: Tensor, argument: str, gaps: bool = False) -> None:
    """Refuse NaN and infinite values; with `gaps` infinite values alone.

    Raises:
        ValueError: if there are any.
    """
    if gaps:
        infinite = int(tensor.isinf().sum())
        if infinite:
            raise ValueError(
                f"{argument} holds {infinite} infinite value(s) among {tensor.numel()}; a missing "
                "one is marked by NaN"
            )
        return
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        bad = int((~torch.isfinite(tensor)).sum())
        raise ValueError(
            f"{argument} holds {bad} NaN or infinite value(s) among {tensor.numel()}; remove "
            "or impute them, or fill them in and hide them by a mask, such as `.mask(seen)`, in "
            "place of a likelihood such as NanMaskedNormal"
        )


def _check_number(batch: Batch, pair: object, argument: str) -> None:
    """Refuse more or fewer tensors than a pair's model or guide takes."""
    for name in ("model", "guide"):
        program = getattr(pair, name, None)
        if program is not None:
            refuse_unless_taken(program, len(batch), f"the pair's {name}", argument)


def refuse_unless_taken(function: Any, count: int, name: str, argument: str = "the batch") -> None:
    """Refuse so many tensors where a function or module takes another number.

    Raises:
        TypeError: if it does.
    """
    if isinstance(function, nn.Module):
        function = function.forward
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a built-in function has none
        return
    try:
        signature.bind(*range(count))
    except TypeError:
        taken = [p for p in signature.parameters.values() if p.kind in _POSITIONAL]
        shown = f"{len(taken)} ({', '.join(p.name for p in taken)})"
        advice = (
            "pass the datapoints alone, without labels, such as fit(pair, x); labels belong to a "
            "batch only if the pair's networks take them as conditions, one-hot (networks.Joined)"
        )
        if count < sum(p.default is p.empty for p in taken):
            advice = "pass a tuple of that many"
        raise TypeError(
            f"{argument} holds {count} tensor(s), but {name} takes {shown}: {advice}"
        ) from None


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _looks_up(pair: object) -> bool:
    """Tell whether a pair has a module whose input is whole numbers."""
    return any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in modules_of(pair))


def reference(pair: object) -> Tensor | None:
    """Return the first floating tensor of a pair: its data must have that dtype and device."""
    for module in modules_of(pair):
        for tensor in itertools.chain(module.parameters(), module.buffers()):
            if tensor.is_floating_point():
                return tensor
    return None


def row_chunks(batch: Batch, rows: int) -> Iterator[Batch]:
    """Cut a batch into batches of at most `rows` rows."""
    yield from zip(*(tensor.split(rows) for tensor in batch), strict=True)


def as_tensor(part: object, argument: str = "data") -> Tensor:
    """Return a tensor that shares memory with an array where it can.

    Raises:
        TypeError: if it is neither a dense real tensor nor an array of numbers.
        ValueError: if values are masked.
    """
    if isinstance(part, Tensor):
        if part.layout is not torch.strided:
            raise _unlike(argument, "a sparse tensor", "pass x.to_dense()")
        if part.is_complex() or part.is_quantized:
            what = f"a tensor of dtype {part.dtype}"
            raise _unlike(argument, what, "pass real numbers, such as torch.view_as_real(x)")
        return part
    if isinstance(part, LazyRows):
        return part.dense(argument)
    if hasattr(part, "toarray"):  # a sparse matrix of SciPy
        raise _unlike(argument, f"a sparse {type(part).__name__}", "pass x.toarray()")
    if isinstance(part, np.ma.MaskedArray):
        hidden = int(np.sum(part.mask))
        if hidden:
            raise ValueError(
                f"{argument} is a masked array with {hidden} hidden value(s) among {part.size}; "
                "fill them, x.filled(value), or remove their rows"
            )
        part = part.data
    named = _NAMED.get(type(part))
    if named or not (isinstance(part, np.ndarray) or hasattr(part, "__array__")):
        raise _unlike(argument, named or _kind(part), _ADVICE.get(_kind(part), _TENSOR))
    array = np.asarray(part)
    if array.dtype.kind not in "biuf":
        what = f"array of dtype {array.dtype}"
        raise _unlike(argument, what, "make every column a number, such as x.astype(float)")
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.itemsize > 8:  # of floats longer than torch's
        array = array.astype(np.float64)
    # torch shares memory with the array, must be able to write to it, and has no negative
    # strides.
    shared = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.as_tensor(array if shared else array.copy())


_NAMED: dict[type, str] = {str: "text", bytes: "bytes", dict: "a dict"}
_TENSOR = "write torch.tensor(x)"
_ADVICE = {
    "DataLoader": "pass one tensor with all rows",
    "list": "write torch.tensor(x) for rows of numbers",
    "Subset": "pass its rows as one tensor",
}


def _kind(part: object) -> str:
    return type(part).__name__


def _unlike(argument: str, what: str, advice: str) -> TypeError:
    return TypeError(
        f"{argument} must be a tensor or numeric array (data, *event) or a tuple of them, got "
        f"{what}; {advice}"
    )
