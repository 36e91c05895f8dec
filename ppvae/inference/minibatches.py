"""Where a training's minibatches come from."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ppvae.batches import Batch, as_batch
from ppvae.data import Dataset
from ppvae.traces import Pair

_MONITORED = 1024  # training rows on which reconstruction and KL are measured at each evaluation


class Minibatches:
    """Tensors in memory, gathered in a new random order each epoch."""

    def __init__(self, batch: Batch, batch_size: int | None) -> None:
        self.rows = len(batch[0])
        if self.rows < 2:
            raise ValueError("data has 1 row; training needs at least 2")
        if batch_size is not None and not 1 <= batch_size <= self.rows:
            raise ValueError(
                f"batch_size must lie between 1 and the {self.rows} rows of the data, "
                f"got {batch_size}"
            )
        self.batch = batch
        self.batch_size = batch_size or min(128, self.rows)
        self.chunk = max(self.batch_size, 1024)

    def __iter__(self) -> Iterator[Batch]:
        order = torch.randperm(self.rows, device=self.batch[0].device)
        for index in order.split(self.batch_size):
            yield tuple(tensor.index_select(0, index) for tensor in self.batch)

    def example(self) -> Batch:
        return tuple(tensor[: self.batch_size] for tensor in self.batch)

    def monitored(self) -> Batch:
        return tuple(tensor[:_MONITORED] for tensor in self.batch)

    def steps_per_epoch(self, epochs: int) -> int | None:
        return epochs * math.ceil(self.rows / self.batch_size)


class Stream:
    """Batches of the caller's making."""

    rows: int | None = None

    def __init__(self, source: Iterable[Any], pair: Pair) -> None:
        self.source = source
        self.pair = pair
        self.first: Batch | None = None
        self.chunk = 1024

    def __iter__(self) -> Iterator[Batch]:
        for parts in self.source:
            batch = as_batch(parts, self.pair, split="train", argument="a batch of data")
            if self.first is None:
                self.first = batch
            yield batch

    def example(self) -> Batch:
        first = next(iter(self), None)
        if first is None:
            raise ValueError("data yields no batch; expected at least one")
        return first

    def monitored(self) -> Batch:
        return self.first or self.example()

    def steps_per_epoch(self, epochs: int) -> int | None:
        return None


def minibatches(data: Any, pair: Pair, batch_size: int | None) -> Minibatches | Stream:
    if isinstance(data, Tensor | tuple | Dataset) or hasattr(data, "__array__"):
        return Minibatches(as_batch(data, pair, split="train"), batch_size)
    if not isinstance(data, Iterable) or isinstance(data, str | bytes | dict):
        raise TypeError(
            "data must be a tensor or array, a tuple of them, a dataset or an iterable of "
            f"batches, got {type(data).__name__}"
        )
    if batch_size is not None:
        raise ValueError("batch_size is for data in memory; the iterable decides on its batches")
    return Stream(data, pair)
