"""The types of the `data` argument, and its conversion to a batch of tensors."""

import itertools
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.engine.modules import modules_of

Batch: TypeAlias = tuple[Tensor, ...]
"""Tensors whose first dimension is data, passed on as `model(*batch)`."""

Array: TypeAlias = Tensor | NDArray[np.generic]
Data: TypeAlias = Array | tuple[Array, ...] | list[Array] | Dataset
"""A tensor or array `(data, *event)`, a tuple of such, or a dataset."""


def as_batch(data: Data, pair: object, *, split: str, argument: str = "data") -> Batch:
    """Turn `data` into tensors on the pair's device, floating values in the pair's dtype.

    Args:
        data: a tensor or array, a tuple of such, or a dataset, of which `split` is taken.
        pair: the pair whose first floating tensor gives dtype and device.
        split: "train", "validation" or "test".
        argument: what to call the data in an error.

    Raises:
        TypeError: if something is neither tensor nor numeric array.
        ValueError: if there are no rows, their numbers differ, or a value is NaN or infinite.

    Example:
        >>> batch = as_batch(np.zeros((3, 2)), torch.nn.Linear(2, 1), split="test")
        >>> batch[0].dtype
        torch.float32
    """
    if isinstance(data, Dataset):
        data = getattr(data, split)
    parts = tuple(data) if isinstance(data, tuple | list) else (data,)
    return checked(tuple(_as_tensor(part, argument) for part in parts), pair, argument=argument)


def checked(batch: Batch, pair: object, *, argument: str = "data") -> Batch:
    """Check values and numbers of rows, then move tensors to a pair's device and dtype."""
    if not batch:
        raise ValueError(f"{argument} is an empty tuple; expected at least one tensor")
    tensors = batch
    for tensor in tensors:
        if tensor.dim() == 0 or len(tensor) == 0:
            raise ValueError(
                f"{argument} has shape {tuple(tensor.shape)}; expected at least one datapoint "
                "along the first dimension"
            )
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            bad = int((~torch.isfinite(tensor)).sum())
            raise ValueError(
                f"{argument} holds {bad} NaN or infinite value(s) among {tensor.numel()}; remove "
                "or impute them"
            )
    rows = [len(tensor) for tensor in tensors]
    if len(set(rows)) > 1:
        raise ValueError(
            f"{argument} holds tensors of {rows} rows; expected the same number in each"
        )
    like = reference(pair)
    if like is None:
        return tensors
    return tuple(
        tensor.to(device=like.device, dtype=like.dtype if tensor.is_floating_point() else None)
        for tensor in tensors
    )


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


def _as_tensor(part: object, argument: str) -> Tensor:
    if isinstance(part, Tensor):
        return part
    if isinstance(part, np.ndarray) and part.dtype.kind in "biuf":
        # torch shares memory with the array, must be able to write to it, and has no negative
        # strides.
        shared = part.flags.writeable and all(stride >= 0 for stride in part.strides)
        return torch.as_tensor(part if shared else part.copy())
    what = f"array of dtype {part.dtype}" if isinstance(part, np.ndarray) else type(part).__name__
    raise TypeError(f"{argument} must be a tensor or numeric array or a tuple of them, got {what}")
