"""Minibatches of rows that are sparse, each made dense by itself."""

from collections.abc import Iterator
from typing import Any

import torch

from ppvae.data import LazyRows
from ppvae.engine import Batch, Pair, Processes, RandomState, batch_of, lazy_batch
from ppvae.inference.steps.minibatches import Minibatch, checked_size, division


class Gathered:
    """Sparse rows, gathered densely in a new random order each epoch, as `InMemory` does.

    Args:
        pair: the pair.
        parts: what it is called with; tensors and sparse rows.
        batch_size: rows of a minibatch.
        processes: those that share it; each makes its own rows dense.
    """

    began: RandomState | None = None
    drawn_at_start = True

    def __init__(
        self,
        pair: Pair,
        parts: tuple[Any, ...],
        batch_size: int | None,
        processes: Processes | None = None,
    ) -> None:
        self._processes = processes or Processes()
        rows = len(parts[0])
        _, self.form = lazy_batch(pair, parts)
        size = checked_size(rows, batch_size)
        self._pair, self._parts, self._size = pair, parts, size
        self.rows: int | None = rows
        self.total: int | None = rows
        self.batch_size: int | None = size
        self.steps: int | None = division(rows, size)[0]
        self.expected: int | None = self.steps

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
            part.rows(slice(rows)) if isinstance(part, LazyRows) else part[:rows]
            for part in self._parts
        )
        return lazy_minibatch(self._pair, parts)

    def _dense(self, parts: tuple[Any, ...]) -> Batch:
        return batch_of(self._pair, (parts, {}), real=True)[0]


def lazy_minibatch(pair: Pair, parts: tuple[Any, ...], argument: str = "data") -> Minibatch:
    """Return rows that `Minibatch.chunks` reads a chunk at a time.

    Raises:
        TypeError: if the pair takes another number of tensors.
        ValueError: if their numbers of rows differ.
    """
    batch, form = lazy_batch(pair, parts, argument)
    return Minibatch(batch, form=form)
