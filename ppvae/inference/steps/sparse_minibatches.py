"""Minibatches of rows that are sparse, each made dense by itself."""

from collections.abc import Iterator
from typing import Any, cast

import torch

from ppvae.data import Dataset, SparseRows
from ppvae.engine import Batch, Pair, Processes, RandomState, batch_of
from ppvae.inference.steps.minibatches import Minibatch, checked_size, division


def sparse_parts(data: Any, split: str) -> tuple[Any, ...] | None:
    """Return what a pair is called with for a split, if some of it are sparse rows."""
    if isinstance(data, Dataset):
        data = data.batch(split)
    parts = data if isinstance(data, tuple) else (data,)
    return parts if any(isinstance(part, SparseRows) for part in parts) else None


class Gathered:
    """Sparse rows, gathered densely in a new random order each epoch, as `InMemory` does.

    Args:
        pair: the pair.
        parts: what it is called with; tensors and sparse rows.
        batch_size: rows of a minibatch.
        processes: those that share it; each makes its own rows dense.
    """

    began: RandomState | None = None

    def __init__(
        self,
        pair: Pair,
        parts: tuple[Any, ...],
        batch_size: int | None,
        processes: Processes | None = None,
    ) -> None:
        self._processes = processes or Processes()
        rows = len(parts[0])
        check_rows(parts, "data")
        size = checked_size(rows, batch_size)
        self._pair, self._parts, self._size = pair, parts, size
        self.rows: int | None = rows
        self.total: int | None = rows
        self.batch_size: int | None = size
        self.steps: int | None = division(rows, size)[0]
        self.expected: int | None = self.steps
        _, self.form = batch_of(pair, (tuple(part[:size] for part in parts), {}))

    def __iter__(self) -> Iterator[Minibatch]:
        """Yield the minibatches of one epoch."""
        rows = len(self._parts[0])
        if self.steps == 1:
            yield Minibatch(self.first(rows), form=self.form)
            return
        order = torch.randperm(rows)
        steps, last = division(rows, self._size)
        for index in order.split([self._size] * (steps - 1) + [last]):
            own, copies = self._processes.share(len(index))
            batch = self._dense(tuple(part[index[own]] for part in self._parts))
            full, joint = self._size, 0
            if self._processes.several:
                full, joint = len(range(self._size)[self._processes.share(full)[0]]), len(index)
            yield Minibatch(batch, None, full, self.form, copies, joint)

    def restart(self) -> None:
        """Do nothing: every epoch is read anew."""

    def first(self, rows: int) -> Batch:
        """Return the first rows."""
        return self._dense(tuple(part[:rows] for part in self._parts))

    def kept(self, rows: int) -> Minibatch:
        """Return the first rows, sparse ones still so; `Minibatch.chunks` makes them dense."""
        parts = tuple(
            part.rows(slice(rows)) if isinstance(part, SparseRows) else part[:rows]
            for part in self._parts
        )
        return sparse_minibatch(self._pair, parts)

    def _dense(self, parts: tuple[Any, ...]) -> Batch:
        return batch_of(self._pair, (parts, {}), real=True)[0]


def sparse_minibatch(pair: Pair, parts: tuple[Any, ...], argument: str = "data") -> Minibatch:
    """Return rows that `Minibatch.chunks` makes dense a chunk at a time.

    Raises:
        TypeError: if the pair takes another number of tensors.
        ValueError: if their numbers of rows differ.
    """
    check_rows(parts, argument)
    example, form = batch_of(pair, (tuple(part[:2] for part in parts), {}), argument=argument)
    like = example[0]
    moved = tuple(
        part.mapped(lambda rows: rows.to(like)) if isinstance(part, SparseRows) else part.to(like)
        for part in parts
    )
    return Minibatch(cast(Batch, moved), form=form)


def check_rows(parts: tuple[Any, ...], argument: str) -> None:
    """Refuse tensors of different numbers of rows.

    Raises:
        ValueError: if they differ.
    """
    rows = [len(part) for part in parts]
    if len(set(rows)) > 1:
        raise ValueError(
            f"{argument} holds tensors of {rows} rows; expected the same number in each"
        )
