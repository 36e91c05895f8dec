"""The tensors that a VAE is called with."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor, nn

from ppvae.engine import (
    Pair,
    as_tensor,
    check_finite,
    reference,
    refuse_unless_taken,
    sound_rows,
)


def tensors_of(pair: nn.Module, values: Sequence[object], first: str = "") -> tuple[Tensor, ...]:
    """Return x or z and conditions, as a user has them, as tensors that the pair's networks take.

    Floating values get the pair's dtype, whole numbers too (see `floating`), and all its device.

    Args:
        pair: the pair whose first floating tensor gives dtype and device.
        values: tensors, arrays, and what NumPy sees as an array, such as tables of pandas.
        first: what to call the first value in an error; without it, all are conditions.

    Raises:
        TypeError: if a value is no tensor and no array of numbers, or a condition holds the
            numbers of classes.
        ValueError: if an array holds NaN or infinite values, or the pair's dtype cannot hold one.

    Example:
        >>> import numpy as np
        >>> tensors_of(nn.Linear(2, 1), (np.zeros((3, 2)),), "x")[0].dtype
        torch.float32
    """
    names = [first] * bool(first)
    names += [f"condition {number}" for number in range(1, 1 + len(values) - len(names))]
    tensors = []
    for name, value in zip(names, values, strict=True):
        if not _like_array(value):
            raise _unlike(value, "tensor or array")
        tensor = as_tensor(value, name)
        if not isinstance(value, Tensor):
            check_finite(tensor, name)
            tensor = tensor.contiguous()  # tables lie column by column; networks may take views
        tensors.append(tensor)
    placeholder = () if first else (torch.empty(0),)  # `floating` takes x first
    cast = floating(pair, (*placeholder, *tensors))[len(placeholder) :]
    like = reference(pair)
    if like is None:
        return cast
    moved = []
    for name, before in zip(names, cast, strict=True):
        after = before.to(like.device, like.dtype if before.is_floating_point() else None)
        if before.dtype.itemsize > after.dtype.itemsize:
            check_finite(after, f"{name} in the pair's {after.dtype}")
        moved.append(after)
    return tuple(moved)


def _like_array(value: object) -> bool:
    return hasattr(value, "__array__") or hasattr(value, "toarray")  # arrays, tables, sparse


def _unlike(value: object, expected: str) -> TypeError:
    return TypeError(
        f"VAE needs x, z and every condition to be a {expected} with one row a datapoint, got "
        f"{type(value).__name__}; sample(n) draws n datapoints without conditions"
    )


def floating(pair: nn.Module, tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the tensors of a batch, x and conditions, with whole numbers as floating values.

    They stay whole where the pair looks them up in an embedding.

    Raises:
        TypeError: if a condition holds the numbers of classes.
    """
    if all(tensor.is_floating_point() for tensor in tensors):
        return tensors
    if any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in pair.modules()):
        return tensors
    for number, condition in enumerate(tensors[1:], 1):
        if condition.dim() < 2 and not condition.is_floating_point():
            raise TypeError(
                f"condition {number} holds whole numbers of shape {tuple(condition.shape)}, as of "
                "classes; pass vectors (data, features): "
                "torch.nn.functional.one_hot(labels).float()"
            )
    like = reference(pair)
    dtype = torch.get_default_dtype() if like is None else like.dtype
    return tuple(t if t.is_floating_point() else t.to(dtype) for t in tensors)


def check_conditions(posterior: nn.Module, count: int) -> None:
    """Refuse conditions where the encoder takes x alone.

    Args:
        posterior: q(z|x).
        count: number of conditions.

    Raises:
        TypeError: if it does not take as many.
    """
    network = getattr(posterior, "network", None)
    if count and isinstance(network, nn.Module):
        name = f"the encoder, {type(network).__name__},"
        refuse_unless_taken(network, 1 + count, name, "a batch of data")


def check_rows(tensors: Sequence[Tensor]) -> None:
    """Refuse tensors of one batch that differ in their number of datapoints.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if their numbers of rows differ.
    """
    for value in tensors:
        if not isinstance(value, Tensor):
            raise _unlike(value, "tensor")
    if len({tensor.shape[:1] for tensor in tensors}) > 1 or any(t.dim() == 0 for t in tensors):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ValueError(
            "VAE needs x and every condition to have one row a datapoint, the same number in "
            f"each, got shapes {shapes}"
        )


def failed_rows(pair: Pair, batch: tuple[Tensor, ...]) -> str:
    """Name the rows that `encode` fails on, if it runs on others: a note for its error."""
    shape = tuple(batch[0].shape)
    with suppress(Exception):  # such as data without a dimension for the rows
        sound = sound_rows(pair, batch)
        failed = [row for row in range(len(batch[0])) if row not in set(sound.tolist())]
        if failed and len(sound):
            names = ", ".join(map(str, failed[:10])) + (", ..." if len(failed) > 10 else "")
            return f"while encode ran on data of shape {shape}; leave out row {names}"
    return f"while encode ran on data of shape {shape}"


def check_data(batch: Sequence[Tensor], event_dim: int) -> None:
    """Refuse x of another number of dimensions, or of other rows than the conditions after it.

    Raises:
        TypeError: if one is no tensor.
        ValueError: if they are so.
    """
    x = batch[0]
    if x.dim() != 1 + event_dim:
        raise ValueError(
            f"VAE needs x of shape (data, *event) with {event_dim} event dimension(s), got shape "
            f"{tuple(x.shape)}"
        )
    check_rows(batch)


def check_number(n: object) -> None:
    """Refuse a number of draws that is none.

    Raises:
        TypeError: if it is no whole number.
        ValueError: if it is below 1.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer):
        raise TypeError(f"sample needs n to be a whole number, got {type(n).__name__}")
    if n < 1:
        raise ValueError(f"sample needs n >= 1, got {n}")
