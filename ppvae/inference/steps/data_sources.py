"""What training reads its minibatches from."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from ppvae.data import Dataset, RowsOnDisk
from ppvae.engine import (
    Pair,
    Processes,
    Reading,
    arguments_of,
    batch_of,
    is_map_style,
    lazy_parts,
)
from ppvae.inference.steps.in_memory import InMemory
from ppvae.inference.steps.minibatches import MONITORED, Minibatch, Minibatches, checked_size
from ppvae.inference.steps.shuffled_blocks import ShuffledBlocks
from ppvae.inference.steps.sparse_minibatches import Gathered, lazy_minibatch
from ppvae.inference.steps.streamed import SharedRows, Streamed


def loaded(
    dataset: Any, pair: Pair, batch_size: int | None, reading: Reading, processes: Processes
) -> Streamed:
    """Return the minibatches of a map-style dataset, shuffled unless all rows are in one batch.

    Each of several processes reads its own rows alone.

    The order of an epoch depends on the random state at its start alone, so that a training can be
    resumed within it.

    Raises:
        TypeError: if the dataset has no length.
        ValueError: if it has less than 2 rows, or the batch size cannot be used.
    """
    try:
        rows = len(dataset)
    except (TypeError, NotImplementedError):
        raise TypeError(
            f"data is a {type(dataset).__name__} without a length; define __len__, which returns "
            "the number of its rows, or pass a DataLoader"
        ) from None
    size = checked_size(rows, batch_size)
    if processes.several:
        shared = SharedRows(rows, size, processes)
        return Streamed(DataLoader(dataset, batch_sampler=shared), pair, reading, shared)
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=size, shuffle=size < rows)
    return Streamed(loader, pair, reading)


def in_memory(data: object) -> bool:
    """Tell whether data are all rows as the pair takes them, not batches or single rows."""
    return isinstance(data, Tensor | tuple | dict | Dataset) or hasattr(data, "__array__")


def minibatches_of(
    data: Any,
    pair: Pair,
    batch_size: int | None,
    reading: Reading | None = None,
    processes: Processes | None = None,
) -> Minibatches:
    """Return the minibatches that `fit`'s `data`, `batch_size` and `batch` ask for.

    Raises:
        TypeError: if `data` is neither arrays nor an iterable of batches.
        ValueError: if the data or the batch size cannot be used.
    """
    reading = reading or Reading(pair)
    parts = lazy_parts(data, "train", pair)
    if parts is not None and reading.batch is None:
        if any(isinstance(part, RowsOnDisk) for part in parts):
            return ShuffledBlocks(pair, parts, batch_size)
        return Gathered(pair, parts, batch_size, processes)
    if in_memory(data) or (isinstance(data, TensorDataset) and reading.batch is None):
        batch, form = batch_of(pair, arguments_of(data, split="train", reading=reading))
        return InMemory(batch, batch_size, form)
    if is_map_style(data):
        return loaded(data, pair, batch_size, reading, processes or Processes())
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise TypeError(
            "data must be a tensor or array, a tuple of them, a dataset or an iterable of "
            f"batches, such as a DataLoader, got {type(data).__name__}"
        )
    if isinstance(data, list) and data and isinstance(data[0], list | int | float):
        # Rows of numbers are refused, with what to write.
        batch_of(pair, arguments_of(data, split="train"))
    if isinstance(data, Iterator):  # `iter(data)` may draw random numbers
        raise TypeError(
            "data is an iterator, which can be passed over only once; pass a list or a DataLoader"
        )
    if isinstance(data, IterableDataset) and batch_size is not None:
        return Streamed(DataLoader(data, batch_size=batch_size), pair, reading)
    if batch_size is not None:
        raise ValueError("batch_size is for rows; the iterable decides on its batches")
    return Streamed(data, pair, reading)


def held_out_of(validation: Any, pair: Pair, reading: Reading) -> Minibatch:
    """Return the rows that `fit`'s `validation` asks for.

    Raises:
        TypeError: if they are neither arrays nor a loader of rows.
        ValueError: if they cannot be used.
    """
    parts = lazy_parts(validation, "validation", pair)
    if parts is not None:
        return lazy_minibatch(pair, parts, "validation")
    arguments = arguments_of(
        validation, split="validation", reading=reading, argument="validation"
    )
    kept, form = batch_of(pair, arguments, argument="validation")
    return Minibatch(kept, form=form)


def row_chunk(batches: Minibatches) -> int:
    """Return how many rows an evaluation takes at once: many, but a minibatch at least."""
    if isinstance(batches, Gathered):  # of many features: no more than a step takes
        return batches.batch_size or MONITORED
    if isinstance(batches, ShuffledBlocks):
        return batches.at_once
    return max(MONITORED, len(batches.first(MONITORED)[0]))


def monitored(batches: Minibatches) -> Minibatch:
    """Return the training rows on which reconstruction and KL are measured."""
    if isinstance(batches, Gathered | ShuffledBlocks):
        return batches.kept(MONITORED)
    return Minibatch(batches.first(MONITORED), form=batches.form)


def after(batches: Minibatches, position: int) -> Iterator[Minibatch]:
    """Return the minibatches of an epoch without the first ones, which are read if they must be.

    The epoch's order is drawn at once.

    Raises:
        ValueError: if there are fewer.
    """
    if isinstance(batches, ShuffledBlocks):
        return batches.after(position)
    left = iter(batches)
    done = sum(1 for _ in itertools.islice(left, position))
    if done < position:
        raise ValueError(
            f"data yields {done} batches; the checkpoint was made after {position} of them"
        )
    return left
