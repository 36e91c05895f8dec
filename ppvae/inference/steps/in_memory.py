"""Minibatches of tensors in memory."""

from collections.abc import Iterator

import torch

from ppvae.engine import PLAIN, Batch, Form, RandomState
from ppvae.inference.steps.minibatches import Minibatch, checked_size, division


class InMemory:
    """Tensors in memory, gathered in a new random order each epoch.

    A single last row is joined to the minibatch before: normalization over a minibatch needs two.
    """

    began: RandomState | None = None
    drawn_at_start = True

    def __init__(self, batch: Batch, batch_size: int | None, form: Form = PLAIN) -> None:
        self.form = form
        self.rows: int | None = len(batch[0])
        size = checked_size(len(batch[0]), batch_size)
        self.batch = batch
        self.total: int | None = len(batch[0])
        self.batch_size: int | None = size
        self._size = size
        self.steps: int | None = division(len(batch[0]), size)[0]
        self.expected: int | None = self.steps

    def __iter__(self) -> Iterator[Minibatch]:
        """Yield the minibatches of one epoch; the last one may be smaller.

        All rows in one batch keep their order: the pair may have parameters a row.
        """
        if self.steps == 1:
            yield Minibatch(self.batch, form=self.form)
            return
        order = torch.randperm(len(self.batch[0]), device=self.batch[0].device)
        steps, last = division(len(order), self._size)
        for index in order.split([self._size] * (steps - 1) + [last]):
            yield Minibatch(self.batch, index, self._size, self.form)

    def restart(self) -> None:
        """Do nothing: every epoch is read anew."""

    def first(self, rows: int) -> Batch:
        """Return the first rows."""
        return tuple(tensor[:rows] for tensor in self.batch)
