"""Minibatches, and what a source of them is."""

import math
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ppvae.engine import (
    PLAIN,
    Adapted,
    Batch,
    Form,
    Pair,
    Processes,
    RandomState,
    row_chunks,
)

MONITORED = 1024
"""Rows on which reconstruction and KL of the training data are measured."""


@dataclass(frozen=True)
class Minibatch:
    """Rows of data for one step.

    Attributes:
        whole: tensors to take rows of.
        index: the rows, or none for all.
        full: rows of most minibatches, where the last one of an epoch may be smaller.
        form: how the arguments of the pair's programs are made of the tensors.
        copies: how many processes have these same rows.
        joint: number of rows of all processes together, where these are those of one.
    """

    whole: Batch
    index: Tensor | None = None
    full: int = 0
    form: Form = PLAIN
    copies: int = 1
    joint: int = 0

    @property
    def tensors(self) -> Batch:
        """Return the rows themselves."""
        return self.gathered(self.parts)

    @property
    def rows(self) -> int:
        """Return their number."""
        return len(self.whole[0] if self.index is None else self.index)

    @property
    def parts(self) -> list[Tensor]:
        """Return what a compiled step is given: the whole and the index, if there is one."""
        return [*self.whole] if self.index is None else [*self.whole, self.index]

    @property
    def kind(self) -> Hashable:
        """Return what is equal for all minibatches that one compiled step can take."""
        return (self.form.kind, *((t.shape, t.stride(), t.dtype, t.device) for t in self.parts))

    def first(self) -> "Minibatch":
        """Return the first rows of the whole, as many as most minibatches have."""
        return self if self.index is None else self.start(self.full or self.rows)

    @property
    def exemplary(self) -> bool:
        """Tell whether `first` has as many rows as most minibatches."""
        return self.index is not None or not self.full or self.rows == self.full

    def start(self, rows: int) -> "Minibatch":
        """Return the first `rows` rows of the whole."""
        index = torch.arange(rows, device=self.whole[0].device)
        return Minibatch(self.whole, index, self.full, self.form)

    def share(self, processes: Processes) -> "Minibatch":
        """Return a process's own rows, where these are those of all."""
        if self.joint:
            return self
        part, copies = self._part(processes)
        return replace(part, copies=copies, joint=self.rows)

    def divided(self, number: int) -> list["Minibatch"]:
        """Return so many parts; the whole, where they had less than two rows each."""
        if self.rows < 2 * number:
            return [self]
        return [self._part(Processes(place, number))[0] for place in range(number)]

    def _part(self, processes: Processes) -> tuple["Minibatch", int]:
        """Return a process's share, and how many processes have the same."""
        own, copies = processes.share(self.rows)
        (full, _) = processes.share(self.full) if self.full else (slice(0, 0), 1)
        whole, index = self.whole, None
        if self.index is None:
            whole = tuple(tensor[own] for tensor in self.whole)
        else:
            index = self.index[own]
        sizes = {"full": full.stop - full.start, "copies": self.copies, "joint": self.joint}
        return Minibatch(whole, index, form=self.form, **sizes), copies

    def chunks(self, rows: int) -> Iterator["Minibatch"]:
        """Cut it into minibatches of at most `rows` rows."""
        for chunk in row_chunks(self.tensors, rows):
            yield Minibatch(chunk, form=self.form)

    def pair(self, pair: Pair) -> Pair:
        """Return a pair that takes the tensors."""
        return pair if self.form.plain else Adapted(pair, self.form)

    def gathered(self, parts: Sequence[Tensor]) -> Batch:
        """Take the rows of `parts`, tensors of the same shapes as `self.parts`."""
        if self.index is None:
            return tuple(parts)
        *whole, index = parts
        return tuple(tensor.index_select(0, index) for tensor in whole)


class Minibatches(Protocol):
    """What can be iterated once an epoch."""

    rows: int | None
    """Rows of an epoch, if known."""

    total: int | None
    """Rows of the whole data, if the source says so."""

    batch_size: int | None
    """Rows of most minibatches, if known."""

    steps: int | None
    """Minibatches of an epoch, if known."""

    expected: int | None
    """Minibatches per epoch reported by the source, or None; may be wrong."""

    form: Form
    """How arguments are made of the first batch."""

    began: RandomState | None
    """The random state before the first epoch, if its first minibatch has been read."""

    drawn_at_start: bool
    """Whether an epoch draws all its random numbers before its first minibatch."""

    def __iter__(self) -> Iterator[Minibatch]:
        """Yield the minibatches of one epoch."""

    def first(self, rows: int) -> Batch:
        """Return some batch of at most `rows` rows, the same each time."""

    def restart(self) -> None:
        """Read the next epoch anew, even where its first minibatch has been read."""


def division(rows: int, size: int) -> tuple[int, int]:
    """Return how many minibatches of `size` rows an epoch has, and the rows of the last one.

    Example:
        >>> division(10, 4), division(9, 4), division(8, 4), division(3, 1)
        ((3, 2), (2, 5), (2, 4), (3, 1))
    """
    steps = math.ceil(rows / size)
    last = rows - (steps - 1) * size
    return (steps - 1, size + 1) if last == 1 < size and steps > 1 else (steps, last)


def checked_size(rows: int, batch_size: int | None) -> int:
    """Return how many rows a minibatch has.

    Raises:
        ValueError: if there are less than 2 rows, or the batch size cannot be used.
    """
    if rows < 2:
        raise ValueError(f"data has {rows} row{'s' * (rows != 1)}; training needs at least 2")
    if batch_size is not None and not 1 <= batch_size <= rows:
        raise ValueError(
            f"batch_size must lie between 1 and the {rows} rows of the data, got {batch_size}"
        )
    return batch_size or min(128, rows)
