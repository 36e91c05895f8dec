"""Sequences that an array holds, filled up to the longest one."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data.files import check_memory, check_plain
from ppvae.data.numpy_files import read_named, read_npy

_Array = NDArray[Any]


def read_padded(path: Path) -> NDArray[np.float32]:
    """Return the sequences of a file, `(data, steps, features)`, NaN at what was filled up.

    A `.npy` marks it by NaN; a `.npz` has the sequences as "x", and the number of steps of each as
    "length", after which "x" may hold anything.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or holds no such arrays; the message names it.
    """
    check_plain(path)
    if path.suffix == ".npy":
        return padded(str(path), read_npy(path))
    found = read_named(path, {"x"}, {"length"})
    return padded(str(path), found["x"], found.get("length"))


def padded(name: str, values: _Array, length: _Array | None = None) -> NDArray[np.float32]:
    """Return sequences, `(data, steps, features)`, NaN at what was filled up.

    Args:
        name: what holds them, for messages.
        values: `(data, steps, features)`, or `(data, steps)` of one feature.
        length: the steps of each, `(data,)`; unless given, NaN marks what was filled up.

    Raises:
        ValueError: if these are no such arrays.
    """
    if values.dtype.kind not in "biuf" or values.ndim not in (2, 3):
        raise ValueError(
            f"{name} holds values of type {values.dtype} and shape {values.shape}; expected "
            "numbers (data, steps, features), or (data, steps) of one feature"
        )
    check_memory(Path(name), values.size * 12, "take shorter sequences")
    with np.errstate(over="ignore"):  # what is infinite then is refused
        found = np.array(values, np.float32).reshape(*values.shape[:2], -1)
    if length is not None:
        _check(name, length, found)
        found[np.arange(found.shape[1]) >= length[:, None]] = np.nan
    infinite = np.isinf(found).any((1, 2))
    if infinite.any():
        raise ValueError(
            f"{name}: sequence {infinite.argmax()} holds infinite values; a missing one is NaN"
        )
    return found


def _check(name: str, length: _Array, values: _Array) -> None:
    """Refuse lengths that are not one for each sequence, from 1 to the number of steps."""
    rows, steps = values.shape[:2]
    if length.dtype.kind not in "iu" or length.shape != (rows,):
        raise ValueError(
            f"{name}: length has shape {length.shape} and type {length.dtype}; expected whole "
            f"numbers of shape ({rows},), one for each sequence"
        )
    wrong = (length < 1) | (length > steps)
    if wrong.any():
        row = wrong.argmax()
        raise ValueError(
            f"{name}: sequence {row} has length {length[row]}; expected 1 to {steps}, the steps "
            "of x"
        )
