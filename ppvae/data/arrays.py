"""Arrays and tables on disk."""

import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset, pieces_of, split

_Array = NDArray[Any]


def array(
    path: str | Path,
    *,
    header: bool | None = None,
    label: str | int | None = None,
    standardize: bool = False,
    validation: float = 0.1,
    test: float = 0.1,
    shuffle: bool = True,
    seed: int = 0,
) -> Dataset:
    """Return the data of a file: `.npy`, `.npz` or `.csv`.

    An array `(data, *event)` becomes vectors, one a datapoint; `(data, height, width)` are images.
    In an archive `.npz`, the array called "labels" holds the labels; the other array, or the one
    called "data", holds the data.

    Use `.npy` for data larger than memory: the file is memory-mapped, and with `shuffle=False` and
    32-bit floating values nothing is copied. `.npz` and `.csv` are read into memory.

    The support is found from the values: {0, 1}, integers from 0 to the highest, [0, 1], or the
    real line.

    Args:
        path: the file.
        header: whether the first line of a table names its columns. By default it does if none
            of its entries is a number.
        label: the column of a table that holds the class: its name, or its number from 0.
        standardize: give every feature mean 0 and standard deviation 1 over the training data.
        validation: the fraction of datapoints for validation.
        test: the fraction of datapoints for testing.
        shuffle: draw the parts at random. Otherwise the last rows are for testing and those
            before them for validation.
        seed: the seed of the random split.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, is of another kind, or holds anything but finite
            numbers. The message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/noise.npy", np.random.rand(50, 4, 4))
        ...     noise = array(f"{folder}/noise.npy")
        >>> noise.name, noise.event_shape, noise.image_shape
        ('noise', torch.Size([16]), (4, 4))
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a file .npy, .npz or .csv")
    readers = {".npy": _npy, ".npz": _npz}
    labels: _Array | None = None
    if path.suffix == ".csv":
        values, labels = _csv(path, header, label)
    elif path.suffix in readers:
        if header is not None or label is not None:
            raise ValueError(f"header and label are for tables; {path} is not a table")
        values, labels = readers[path.suffix](path)
    else:
        raise ValueError(f"{path} ends in {path.suffix!r}; expected .npy, .npz or .csv")
    tensor, image_shape = _vectors(path, values)
    dataset = split(
        path.stem,
        tensor,
        _support(path, tensor),
        labels=None if labels is None else _codes(path, labels),
        image_shape=image_shape,
        validation=validation,
        test=test,
        shuffle=shuffle,
        seed=seed,
    )
    return dataset.standardized() if standardize else dataset


def _npy(path: Path) -> tuple[_Array, None]:
    try:
        # "c" is copy-on-write: torch can use the array, and the file is never changed.
        return np.load(path, mmap_mode="c", allow_pickle=False), None
    except (ValueError, EOFError, SyntaxError, TypeError) as error:
        raise _damaged(path, error) from error


def _npz(path: Path) -> tuple[_Array, _Array | None]:
    try:
        # Opened here, since NumPy does not close a file that turns out to be damaged.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it holds one array in the format .npy; rename it")
            arrays = {name: _member(archive, name) for name in archive.files}
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, SyntaxError, TypeError) as error:
        raise _damaged(path, error) from error
    labels = arrays.pop("labels", None)
    if "data" in arrays:
        return arrays["data"], labels
    if len(arrays) != 1:
        raise ValueError(
            f"{path} holds the arrays {sorted(arrays)}; expected one called 'data', or a single "
            "one beside 'labels'"
        )
    return next(iter(arrays.values())), labels


def _member(archive: Mapping[str, Any], name: str) -> _Array:
    values = archive[name]
    if not isinstance(values, np.ndarray):  # NumPy gives the bytes of any other file
        raise ValueError(f"{name!r} in it is no array")
    return values


def _csv(path: Path, header: bool | None, label: str | int | None) -> tuple[_Array, _Array | None]:
    import pandas

    try:
        if header is None:
            first = pandas.read_csv(path, header=None, nrows=1, dtype=str)
            header = not any(_is_number(value) for value in first.iloc[0])
        table = pandas.read_csv(path, header=0 if header else None, low_memory=False)
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error
    table.columns = [str(name) for name in table.columns]
    classes = None
    if label is not None:
        name = str(label)
        if name not in table:
            raise ValueError(f"{path} has no column {name!r}; it has {list(table.columns)}")
        classes = np.asarray(table.pop(name))
    if table.empty:
        raise ValueError(f"{path} holds an array of shape {table.shape}; expected rows of numbers")
    for name in table.columns:
        column = table[name]
        if not pandas.api.types.is_numeric_dtype(column):
            example = next(value for value in column.dropna() if not _is_number(value))
            raise ValueError(
                f"{path}: column {name!r} holds text such as {str(example)[:40]!r}; make it the "
                f"label, --data.label {name}, or remove it"
            )
        if column.isna().any():
            row = int(column.isna().to_numpy().argmax()) + 1
            raise ValueError(
                f"{path}: {int(column.isna().sum())} value(s) of column {name!r} are missing, the "
                f"first in data row {row}; impute or remove them"
            )
    return table.to_numpy(np.float32), classes


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _vectors(path: Path, values: _Array) -> tuple[Tensor, tuple[int, int] | None]:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path} holds values of type {values.dtype}; expected numbers")
    if values.ndim == 0 or values.size == 0:
        raise ValueError(
            f"{path} holds an array of shape {values.shape}; expected rows of numbers"
        )
    image_shape = None
    if values.ndim == 3:
        image_shape = (int(values.shape[1]), int(values.shape[2]))
    tensor = torch.as_tensor(
        values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
    )
    tensor = tensor.reshape(len(tensor), -1)
    bad = sum(int((~torch.isfinite(rows)).sum()) for rows in pieces_of(tensor))
    if bad:
        raise ValueError(
            f"{path} holds {bad} NaN or infinite value(s) among {tensor.numel()}; remove or "
            "impute them"
        )
    return tensor, image_shape


def _support(path: Path, values: Tensor) -> constraints.Constraint:
    low, high, whole = math.inf, -math.inf, True
    for rows in pieces_of(values):
        low, high = min(low, float(rows.min())), max(high, float(rows.max()))
        whole = whole and bool((rows == rows.floor()).all())
    if whole and low >= 0 and high <= 1:
        return constraints.boolean
    if whole and low >= 0:
        return constraints.integer_interval(0, int(high))
    return constraints.unit_interval if low >= 0 and high <= 1 else constraints.real


def _codes(path: Path, labels: _Array) -> Tensor:
    if labels.dtype.kind in "iu":
        return torch.as_tensor(labels.astype(np.int64))
    if labels.dtype.hasobject and any(value != value for value in labels):
        raise ValueError(f"{path}: some labels are missing; remove those rows")
    return torch.as_tensor(np.unique(labels.astype(str), return_inverse=True)[1])


def _damaged(path: Path, error: Exception) -> ValueError:
    reason = " ".join(str(error).split()) or type(error).__name__
    if "pickled" in reason:  # NumPy's guess for a file whose first bytes it does not know
        reason = f"it is no file in the format {path.suffix}"
    elif "allow_pickle" in reason or "Python objects" in reason:
        reason = "it holds Python objects, which are not loaded; save an array of numbers"
    return ValueError(f"{path} cannot be read: {reason:.200}")
