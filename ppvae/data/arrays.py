"""Arrays and tables on disk."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.channels import channels_first
from ppvae.data.dataset import Dataset
from ppvae.data.files import check_memory, check_plain
from ppvae.data.numpy_files import read_npy, read_npz
from ppvae.data.pieces import pieces_of
from ppvae.data.splitting import split
from ppvae.data.standardization import Standardization
from ppvae.data.supports import LEVELS, support_of
from ppvae.data.tables import Table, read_csv

_Array = NDArray[Any]
_LOST = 1e-3  # of a column's standard deviation: the rounding that is too much
_LOG = logging.getLogger(__name__)


def array(
    path: str | Path,
    *,
    header: bool | None = None,
    label: str | int | None = None,
    standardize: bool = False,
    channel_axis: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    shuffle: bool = True,
    seed: int = 0,
) -> Dataset:
    """Return the data of a file of numbers: `.npy`, `.npz` or `.csv`.

    `table` reads tables of any columns; this function takes columns of numbers alone, in their
    order.

    An array `(data, *event)` becomes vectors, one a datapoint; `(data, height, width)` are images,
    and so are `(data, height, width, channels)` and `(data, channels, height, width)` with 1 or 3
    channels. A vector has one channel after the other.
    In an archive `.npz`, the array called "labels" holds the labels; the only other array holds
    the data.

    For data larger than memory use `on_disk`. A file `.npy` is memory-mapped, and with
    `shuffle=False` and 32-bit floating values nothing is copied. `.npz` and `.csv` are read into
    memory.

    The support is found from the values of the training data: {0, 1}, levels from 0 to the
    highest, whole numbers from 0, [0, 1], or the real line; in a table each column has its own.

    The dataset's `rows` hold the number of each datapoint's row in the file, from 0. Its `notes`
    say what was decided in reading; they are logged as warnings too.

    Args:
        path: the file.
        header: whether the first line of a table names its columns. By default it does if its
            entries are text, or numbers unlike those below; if it may be both, it has to be said.
        label: the column of a table that holds the class: its name, or its number from 0.
        standardize: take every feature as a real number, which the pair learns in units of its
            mean and standard deviation over the training data. The values stay as they are.
        channel_axis: the dimension of an array of pictures that has the channels, 1 or 3, where
            both may be it.
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
    check_plain(path)
    if path.suffix not in (".npy", ".npz", ".csv"):
        raise ValueError(f"{path} ends in {path.suffix!r}; expected .npy, .npz or .csv")
    if path.suffix != ".csv" and (header is not None or label is not None):
        raise ValueError(f"header and label are for tables; {path} is not a table")
    table: Table | None = None
    labels: _Array | None = None
    values: _Array
    if path.suffix == ".csv":
        table = read_csv(path, header, label)
        values, labels = table.values, table.labels
    elif path.suffix == ".npz":
        values, labels = read_npz(path)
    else:
        values = read_npy(path)
    values, image_shape = channels_first(path, values, channel_axis)
    tensor = _vectors(path, values)
    if tensor.dtype is torch.float64:
        check_digits(path, tensor, () if table is None else table.columns)
        if values.dtype != np.float64 or table is not None:
            tensor = tensor.float()
    dataset = split(
        path.stem,
        tensor,
        constraints.real,
        labels=None if labels is None else _codes(path, labels),
        image_shape=image_shape,
        validation=validation,
        test=test,
        shuffle=shuffle,
        seed=seed,
    )
    dataset = replace(
        dataset,
        columns=() if table is None else table.columns,
        notes=() if table is None else table.notes + _cautions(path, dataset, table),
    )
    for note in dataset.notes:
        _LOG.warning(note)
    if standardize:
        return dataset.standardized()
    others = [dataset.validation, dataset.test]
    support = support_of(dataset.train, others, by_column=values.ndim < 3)
    if values.ndim == 4 and values.dtype == np.uint8 and image_shape and _is_byte(dataset):
        support = constraints.integer_interval(0, LEVELS)
    return replace(dataset, support=support)


def _vectors(path: Path, values: _Array) -> Tensor:
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path} holds values of type {values.dtype}; expected numbers")
    if values.dtype not in (np.float32, np.float64):
        # Small types fit into 32 bits; for the others it is checked.
        kept = np.float32 if values.itemsize < 4 else np.float64
        check_memory(path, values.size * np.dtype(kept).itemsize)
        with np.errstate(over="ignore"):  # what is infinite then is refused below
            values = values.astype(kept)
    tensor = torch.as_tensor(values)
    tensor = tensor.reshape(len(tensor), -1)
    bad = sum(int((~torch.isfinite(rows)).sum()) for rows in pieces_of(tensor))
    if bad:
        raise ValueError(
            f"{path} holds {bad} NaN or infinite value(s) among {tensor.numel()}; remove or "
            "impute them"
        )
    return tensor


def _is_byte(dataset: Dataset) -> bool:
    """Tell whether levels of pictures use more than half of those that a byte has."""
    parts = (dataset.train, dataset.validation, dataset.test)
    return max(float(rows.max()) for part in parts for rows in pieces_of(part)) > LEVELS / 2


def check_digits(path: Path, values: Tensor, columns: tuple[str, ...]) -> None:
    """Refuse features whose differences 32-bit values lose; a pair computes with these.

    Raises:
        ValueError: with the name of the first such column, or its number.
    """
    spread = Standardization.of(values).scale
    lost = torch.zeros_like(spread)
    for rows in pieces_of(values):
        lost = torch.maximum(lost, (rows.float().double() - rows).abs().amax(0))
    bad = ~torch.isfinite(lost) | (lost > _LOST * spread)
    if bool(bad.any()):
        column = int(bad.nonzero()[0])
        name = columns[column] if columns else str(column)
        raise ValueError(
            f"{path}: the values of column {name!r} differ by too little, or are too large, for "
            "32-bit numbers; subtract a constant from it, or divide it by one"
        )


def _cautions(path: Path, dataset: Dataset, table: Table) -> tuple[str, ...]:
    """Say what makes log P(X) of a table larger than it is of unseen data."""
    cautions = []
    value = dataset.train[0]
    level = (value == value.floor()) & (value >= 0) & (value <= LEVELS)  # these have probabilities
    same = (dataset.train == value).all(0) & ~level
    names = [name for name, constant in zip(table.columns, same, strict=True) if constant]
    if names:
        shown = ", ".join(names)
        cautions.append(
            f"{path}: {len(names)} column(s) have one value in all training data: {shown:.100}; "
            "a density can grow without bound there, remove them"
        )
    if not bool((dataset.train == dataset.train.floor()).all()):  # whole numbers repeat themselves
        known = set(_hashes(dataset.train))
        copies = sum(code in known for code in _hashes(dataset.test))
        if copies:
            cautions.append(
                f"{path}: {copies} of {len(dataset.test)} test rows are copies of training rows, "
                "so that log P(X) is not that of unseen data; remove copies"
            )
    return tuple(cautions)


def _hashes(rows: Tensor) -> list[int]:
    import pandas

    codes: list[int] = pandas.util.hash_pandas_object(
        pandas.DataFrame(rows.numpy()), index=False
    ).tolist()
    return codes


def _codes(path: Path, labels: _Array) -> Tensor:
    if labels.dtype.kind in "iu":
        return torch.as_tensor(labels.astype(np.int64))
    flat = labels.ravel()
    if (labels.dtype.hasobject or labels.dtype.kind == "f") and any(v != v for v in flat):
        raise ValueError(f"{path}: some labels are missing; remove those rows")
    codes = np.unique(labels.astype(str), return_inverse=True)[1]
    return torch.as_tensor(codes.reshape(labels.shape))
