"""Minibatches of rows on disk, which are read in blocks and mixed in a buffer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import LazyRows, RowsOnDisk, spread
from ppvae.engine import Batch, Pair, RandomState, lazy_batch
from ppvae.inference.steps.minibatches import MONITORED, Minibatch, checked_size, division
from ppvae.inference.steps.read_ahead import ReadAhead

_AT_ONCE = 2**23  # bytes of rows that are evaluated at once; activations need many times more

_Numbers = NDArray[np.int64]


class ShuffledBlocks:
    """Rows on disk, in a new random order each epoch, as `ppvae.data.BlockShuffling` states it.

    A buffer is filled with blocks, sorted by their place on disk, and emptied in random order,
    while a thread fills a second one. The order depends on the random state at the start of the
    epoch alone. Rows that fit into one buffer stay there and have the order that `InMemory` gives
    them.

    Args:
        pair: the pair.
        parts: what it is called with; rows on disk, tensors and other lazy rows.
        batch_size: rows of a minibatch.
    """

    began: RandomState | None = None
    drawn_at_start = False

    def __init__(self, pair: Pair, parts: tuple[Any, ...], batch_size: int | None) -> None:
        rows = len(parts[0])
        self._parts, self.form = lazy_batch(pair, parts)
        self._size = checked_size(rows, batch_size)
        self._on_disk = [part for part in parts if isinstance(part, RowsOnDisk)]
        first = self._on_disk[0]
        width = sum(part.row_bytes for part in self._on_disk)
        self._buffered = max(first.block, first.buffer // 2 // width)
        self._bounds: _Numbers = first.blocks() if rows > self._buffered else np.array([0, rows])
        self._buffer: _Buffer | None = None  # that of all rows
        self.mixing = [len(self._bounds) - 1, self._buffered]
        self.rows: int | None = rows
        self.total: int | None = rows
        self.batch_size: int | None = self._size
        self.steps: int | None = division(rows, self._size)[0]
        self.expected: int | None = self.steps
        self.at_once = min(MONITORED, max(1, _AT_ONCE // _width(self.first(1))))

    def __iter__(self) -> Iterator[Minibatch]:
        """Yield the minibatches of one epoch."""
        yield from self.after(0)

    def after(self, position: int) -> Iterator[Minibatch]:
        """Return the minibatches of one epoch without the first ones, whose rows are not read.

        The epoch's order is drawn at once.
        """
        if self.steps == 1:
            whole = (Minibatch(self.first(len(self._parts[0])), form=self.form) for _ in range(1))
            return iter(()) if position else whole
        return self._minibatches(self._drawn(), position)

    def restart(self) -> None:
        """Do nothing: every epoch is read anew."""

    def first(self, rows: int) -> Batch:
        """Return the first rows."""
        return tuple(part[:rows] for part in self._parts)

    def kept(self, rows: int) -> Minibatch:
        """Return rows spread over all, still unread; the first ones where all are in memory."""
        which: slice | Tensor = slice(rows)
        if len(self._bounds) > 2:
            which = torch.from_numpy(spread(len(self._parts[0]), rows))
        parts = tuple(
            part.rows(which) if isinstance(part, LazyRows) else part[which] for part in self._parts
        )
        return Minibatch(parts, form=self.form)

    def _drawn(self) -> "_Order":
        blocks = len(self._bounds) - 1
        if blocks == 1:
            return _Order(
                np.zeros(1, np.int64), [0, 1], [0], whole=torch.randperm(self._bounds[1])
            )
        blocks_in_order = torch.randperm(blocks).numpy()
        seed = int(torch.randint(2**62, ()))
        lengths = np.diff(self._bounds)[blocks_in_order]
        begins = np.cumsum(lengths) - lengths
        firsts = np.flatnonzero(np.diff(begins // self._buffered, prepend=-1))
        return _Order(
            blocks_in_order, [*firsts.tolist(), blocks], begins[firsts].tolist(), seed=seed
        )

    def _minibatches(self, order: "_Order", position: int) -> Iterator[Minibatch]:
        assert self.rows is not None
        steps, last = division(self.rows, self._size)
        skipped = position * self._size
        group = int(np.searchsorted(order.begins, skipped, "right")) - 1
        buffers = ReadAhead(self._filling(order), range(group, len(order.begins)))
        try:
            buffer = next(buffers)
            index = order.within(group, len(buffer.places))[skipped - order.begins[group] :]
            for step in range(position, steps):
                wanted = self._size if step < steps - 1 else last
                pieces = []
                while wanted:
                    if not len(index):
                        group, buffer = group + 1, next(buffers)
                        index = order.within(group, len(buffer.places))
                    taken, index = index[:wanted], index[wanted:]
                    pieces.append(self._taken(buffer, taken))
                    wanted -= len(taken)
                batch = pieces[0]
                if len(pieces) > 1:
                    batch = tuple(torch.cat(tensors) for tensors in zip(*pieces, strict=True))
                yield Minibatch(batch, None, self._size, self.form)
        finally:
            buffers.end()

    def _filling(self, order: "_Order") -> Callable[[int, Callable[[], bool]], "_Buffer"]:
        """Return what fills one of two buffers with the blocks of a group."""
        arrays: list[list[NDArray[Any]]] = []

        def filled(group: int, needed: Callable[[], bool]) -> _Buffer:
            if self._buffer is not None:
                return self._buffer
            blocks = np.sort(order.blocks[order.firsts[group] : order.firsts[group + 1]])
            bounds = [(int(self._bounds[each]), int(self._bounds[each + 1])) for each in blocks]
            places = np.concatenate([np.arange(*each) for each in bounds])
            if len(arrays) < 2:
                arrays.append(self._room(max(order.most(self._bounds))))
            else:
                arrays.reverse()
            own = arrays[-1]
            done = 0
            for start, stop in bounds:
                if not needed():
                    break
                for part, array in zip(self._on_disk, own, strict=True):
                    part.read(start, array[done : done + stop - start])
                done += stop - start
            buffer = _Buffer(places, own)
            if len(self._bounds) == 2 and needed():
                self._buffer = buffer
            return buffer

        return filled

    def _room(self, rows: int) -> list[NDArray[Any]]:
        return [np.empty((rows, *part.stored_shape), part.stored_dtype) for part in self._on_disk]

    def _taken(self, buffer: "_Buffer", index: Tensor) -> Batch:
        numbers = index.numpy()
        places = torch.from_numpy(buffer.places[numbers])
        arrays = iter(buffer.arrays)
        return tuple(
            part.converted(np.take(next(arrays), numbers, axis=0))
            if isinstance(part, RowsOnDisk)
            else part[places.to(part.device)]
            for part in self._parts
        )


@dataclass(frozen=True)
class _Buffer:
    """Rows as the files have them, one array a part on disk, and the place of each row."""

    places: _Numbers
    arrays: list[NDArray[Any]]


@dataclass(frozen=True)
class _Order:
    """The order of an epoch.

    Args:
        blocks: in their order.
        firsts: which of these is the first of each group that fills a buffer, and their number.
        begins: how many rows come before each group.
        seed: of the order of the rows of a group.
        whole: that order, of the only group.
    """

    blocks: _Numbers
    firsts: list[int]
    begins: list[int]
    seed: int = 0
    whole: Tensor | None = None

    def within(self, group: int, rows: int) -> Tensor:
        """Return the order of the rows of a group."""
        if self.whole is not None:
            return self.whole
        generator = torch.Generator().manual_seed(self.seed + group)
        return torch.randperm(rows, generator=generator)

    def most(self, bounds: _Numbers) -> list[int]:
        """Return how many rows each group has."""
        rows: list[int] = np.diff([*self.begins, int(bounds[-1])]).tolist()
        return rows


def _width(row: Batch) -> int:
    return sum(part.numel() * part.element_size() for part in row)
