"""Datasets larger than memory: arrays and folders of files on disk."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.arrays import check_digits
from ppvae.data.channels import channels_first
from ppvae.data.dataset import Dataset
from ppvae.data.disk_splits import split_pieces
from ppvae.data.folders import opened
from ppvae.data.rows_on_disk import BUFFER, RowsOnDisk
from ppvae.data.standardization import Standardization
from ppvae.data.supports import LEVELS, support_of

_LOG = logging.getLogger(__name__)


def on_disk(
    path: str | Path,
    *,
    validation: float | str = 0.1,
    test: float | str = 0.1,
    held_out: int = 10_000,
    shuffle: bool = True,
    standardize: bool = False,
    channel_axis: int | None = None,
    sampled: int | None = 10_000,
    block: int | None = None,
    buffer: int = BUFFER,
    seed: int = 0,
) -> Dataset:
    """Return the rows of an array `.npy`, a Parquet file or a folder of these, left on disk.

    For data larger than memory: `train`, `validation` and `test` are `RowsOnDisk`. `fit` reads
    blocks of consecutive rows in random order into a buffer and draws minibatches from it at
    random, while a thread reads the next blocks. `dataset.train.shuffling` says how well this
    mixes the rows (`BlockShuffling`); where the buffer holds all of them, they are trained on as
    those of a tensor are. Memory does not grow with the data.

    A folder's files are taken in the order of their paths; all have rows of one shape and type.
    Values become what `array` makes of the same ones: vectors, one channel after the other, of
    32-bit floating values (64-bit ones stay so), with the same support. The support is found from
    a sample that is spread over the rows. Every block is checked when it is read: NaN, infinity
    and what lies outside the support are refused, with file and row.

    Args:
        path: the file or folder.
        validation: the fraction of rows for validation, or a pattern of the paths of files within
            the folder, such as "validation/*".
        test: the fraction of rows for testing, or a pattern such as "test-*.npy".
        held_out: the most rows that a fraction means: validation and test are evaluated whole.
            All other rows are for training.
        shuffle: draw validation and test at random, each as 64 runs of consecutive rows or more.
            Otherwise the last rows are for testing and those before them for validation.
        standardize: take every feature as a real number, which the pair learns in units of its
            mean and standard deviation over the sample.
        channel_axis: the dimension of pictures that has the channels, 1 or 3, where both may be.
        sampled: the training rows from which support and units are found, fewer where these need
            more than 64 MiB; None looks at all rows for their support.
        block: the rows of a block; as many as 512 KiB hold unless given. Of Parquet files a block
            is a row group.
        buffer: bytes of rows that a training keeps in memory, of which half is read while half is
            used.
        seed: of the random split.

    Raises:
        FileNotFoundError: if there is no such file or folder.
        ImportError: if a Parquet file is to be read and pyarrow is not installed.
        ValueError: if a file is damaged or of another kind, files differ in shape or type, a split
            would be empty, or values are not finite. The message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(f"{folder}/pixels.npy", np.arange(800, dtype=np.uint8).reshape(50, 4, 4))
        ...     pixels = on_disk(f"{folder}/pixels.npy")
        ...     pixels.train.shape, pixels.train[:1].shape, pixels.image_shape
        (torch.Size([40, 16]), torch.Size([1, 16]), (4, 4))
    """
    path = Path(path)
    if sampled is not None and sampled < 1:
        raise ValueError(f"sampled must be at least 1 row, or None for all, got {sampled}")
    rows = RowsOnDisk(opened(path), block=block, buffer=buffer)
    shape, dtype = rows.stored_shape, rows.stored_dtype
    whole = np.broadcast_to(np.zeros((), dtype), (len(rows), *shape))
    image_shape = channels_first(path, whole, channel_axis)[1]
    pieces = split_pieces(path, rows, validation, test, held_out, shuffle, seed)
    stored = {part: rows.of_pieces(found) for part, found in pieces.items()}
    if dtype.itemsize >= 4 and dtype != np.float32:
        doubles = stored["train"].sample(sampled or 10_000)
        check_digits(path, doubles.mapped(_vectors(path, channel_axis, np.float64))[:], ())
    vectors = _vectors(path, channel_axis, np.float64 if dtype == np.float64 else np.float32)
    parts = {part: each.mapped(vectors) for part, each in stored.items()}
    few = {
        part: each if sampled is None else each.sample(sampled)[:] for part, each in parts.items()
    }
    support: constraints.Constraint = constraints.real
    if not standardize:
        seen = [cast(Tensor, few[part]) for part in ("train", "validation", "test")]
        support = support_of(seen[0], seen[1:], by_column=len(shape) < 2)
        if len(shape) == 3 and dtype == np.uint8 and image_shape and _is_byte(parts):
            support = constraints.integer_interval(0, LEVELS)
    train, held, unseen = (
        cast(Tensor, parts[part].within(support)) for part in ("train", "validation", "test")
    )
    note = _note(path, len(few["train"]), len(train))
    dataset = Dataset(
        name=path.stem,
        train=train,
        validation=held,
        test=unseen,
        support=support,
        image_shape=image_shape,
        rows=_RowNumbers(parts),
        notes=note,
    )
    for each in note:
        _LOG.warning(each)
    if standardize:
        return dataset.standardized(Standardization.of(cast(Tensor, few["train"])))
    return dataset


def _vectors(
    path: Path, channel_axis: int | None, dtype: type[np.floating[Any]]
) -> Callable[[Tensor], Tensor]:
    """Return what makes vectors of rows, one channel after the other."""

    def vectors(rows: Tensor) -> Tensor:
        values: NDArray[Any] = channels_first(path, rows.numpy(), channel_axis)[0]
        if values.dtype.kind in "iu" and values.itemsize >= 4:
            values = values.astype(np.float64)
        kept = values.astype(dtype, order="C", copy=False)
        return torch.from_numpy(kept.reshape(len(kept), math.prod(kept.shape[1:])))

    return vectors


def _is_byte(parts: Mapping[str, RowsOnDisk]) -> bool:
    """Tell whether levels of pictures use more than half of those that a byte has."""
    few = (rows for each in parts.values() for rows in each.sample().split(64))
    return any(float(rows.max()) > LEVELS / 2 for rows in few)


def _note(path: Path, sampled: int, rows: int) -> tuple[str, ...]:
    if sampled >= rows:
        return ()
    return (
        f"{path}: support and units are found from {sampled:,} of {rows:,} training rows, spread "
        "over all of them",
    )


class _RowNumbers(Mapping[str, Tensor]):
    """Where the rows of each split were, counted when they are asked for."""

    def __init__(self, parts: Mapping[str, RowsOnDisk]) -> None:
        self._parts = parts

    def __getitem__(self, part: str) -> Tensor:
        return self._parts[part].numbers()

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)
