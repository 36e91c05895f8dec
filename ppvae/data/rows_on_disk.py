"""Rows of files on disk, read a block at a time."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.block_checks import first_bad_row
from ppvae.data.block_shuffling import BlockShuffling
from ppvae.data.lazy_rows import LazyRows, Which, places
from ppvae.data.row_pieces import Numbers, RowPieces, spread
from ppvae.data.shards import MappedArray, Shard, mapping_of
from ppvae.data.supports import support_text

BUFFER = 2**28
"""Bytes of rows that wait in memory for a training, of which half is read while half is used."""

_BLOCK = 2**19  # bytes of a block: a disk reads so many at its full speed
_SAMPLE = 2**26  # bytes of a sample of the rows

_Array = NDArray[Any]


@final
class RowsOnDisk(LazyRows):
    """Rows of files in the place of a tensor `(data, *event)`, which are read when asked for.

    See `LazyRows`. Every block that is read is checked: NaN, infinity and values outside the
    support are refused, with file and row. Nothing that was read stays in memory.

    Args:
        shards: the files, of rows of one shape and type.
        pieces: which rows these are, in the numbers that all files together have; all unless
            given.
        support: of the values, which are checked for it; any finite number unless given.
        block: the rows of a block, which a training reads at once; as many as 512 KiB hold unless
            given.
        buffer: the bytes of rows that a training keeps in memory.

    Raises:
        ValueError: if `block` or `buffer` is too small.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        *,
        pieces: RowPieces | None = None,
        support: constraints.Constraint | None = None,
        block: int | None = None,
        buffer: int = BUFFER,
    ) -> None:
        self.shards = tuple(shards)
        self.stored_shape = self.shards[0].shape[1:]
        self.stored_dtype = self.shards[0].dtype
        self.row_bytes = max(1, math.prod(self.stored_shape) * self.stored_dtype.itemsize)
        self.support = support
        self.buffer = buffer
        self.block = max(1, _BLOCK // self.row_bytes) if block is None else block
        if self.block < 1 or self.block * self.row_bytes > buffer // 2:
            raise ValueError(
                f"buffer is {buffer} bytes, and half of it holds no block of {self.block} row(s) "
                f"of {self.row_bytes} bytes; make it larger, or blocks smaller"
            )
        self.begins: Numbers = np.cumsum([0, *(len(shard) for shard in self.shards)])
        self.pieces = RowPieces([(0, int(self.begins[-1]))]) if pieces is None else pieces
        self._take((), torch.from_numpy(np.empty((1, *self.stored_shape), self.stored_dtype)))

    @property
    def shape(self) -> torch.Size:
        """The number of rows, and the shape of one."""
        return torch.Size((len(self.pieces), *self._event))

    @property
    def shuffling(self) -> BlockShuffling:
        """How well a training mixes the rows."""
        block = int(np.diff(self.blocks()).max(initial=1))
        return BlockShuffling(len(self), block, max(block, self.buffer // 2 // self.row_bytes))

    def __getitem__(self, rows: Which) -> Tensor:
        """Return one row, `(*event,)`, or several, `(rows, *event)`."""
        wanted = places(rows, len(self))
        found = self.converted(self._gathered(np.atleast_1d(wanted)))
        return found if wanted.ndim else found[0]

    def rows(self, which: slice | Tensor) -> Self:
        """Return some of the rows, still unread."""
        if isinstance(which, slice) and which.step in (None, 1):
            start, stop, _ = which.indices(len(self))
            return self.of_pieces(self.pieces.between(start, stop))
        numbers = self.pieces.numbers(places(which, len(self)))
        return self.of_pieces(RowPieces.of_numbers(numbers))

    def of_pieces(self, pieces: RowPieces) -> Self:
        """Return the rows of pieces of all files together, still unread."""
        return self._like(pieces, self.support)

    def joined(self, others: Sequence["RowsOnDisk"]) -> Self:
        """Return these rows and then others of the same files, still unread."""
        return self.of_pieces(RowPieces.joined([self.pieces, *(each.pieces for each in others)]))

    def within(self, support: constraints.Constraint) -> Self:
        """Return rows whose values are checked for a support."""
        return self._like(self.pieces, support)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return rows to which a function is applied where they are read, after others."""
        rows = self._like(self.pieces, self.support)
        example = function(self.converted(np.zeros((1, *self.stored_shape), self.stored_dtype)))
        rows._take((*self._functions, function), example)
        return rows

    def marks(self) -> Iterator[_Array]:
        """Yield name, size and time of change of each file, and which rows of them these are."""
        for shard in self.shards:
            yield np.frombuffer(shard.path.name.encode(), np.uint8)
            yield np.array(shard.marks(), dtype=np.int64)
        yield self.pieces.bounds

    def numbers(self) -> Tensor:
        """Return where each row is in the files, one after the other, `(data,)`, from 0."""
        return torch.from_numpy(self.pieces.numbers(np.arange(len(self))))

    def sample(self, rows: int = 10_000) -> Self:
        """Return rows that are spread evenly over all: 64 runs of consecutive ones, still unread.

        Args:
            rows: their number; fewer where these need more than 64 MiB, all if there are no more.
        """
        width = max(1, self.shape[1:].numel() * max(4, self.dtype.itemsize))
        count = max(1, min(rows, _SAMPLE // width))
        return self.rows(torch.from_numpy(spread(len(self), count)))

    def blocks(self) -> Numbers:
        """Return the places before which the blocks begin, and the number of all rows.

        Blocks have `block` rows, fewer at the end of a file or piece. Of Parquet files a block is
        a row group.
        """
        found: list[Numbers] = []
        for begin, end, place in self.pieces:
            for number in range(self._shard(begin), self._shard(end - 1) + 1):
                first = int(self.begins[number])
                start, stop = max(begin, first), min(end, first + len(self.shards[number]))
                cuts = first + self.shards[number].cuts
                inner = cuts[(cuts > start) & (cuts < stop)]
                if not len(cuts):
                    inner = np.arange(start + self.block, stop, self.block)
                found.append(np.array([start, *inner], dtype=np.int64) - begin + place)
        return np.concatenate([*found, [len(self)]]).astype(np.int64)

    def read(self, start: int, out: _Array) -> None:
        """Fill an array with the rows from `start` on as the files have them, checked.

        Raises:
            ValueError: if a value is not finite or outside the support, or a file is damaged.
        """
        done = 0
        while done < len(out):
            number, left = self.pieces.run(start + done)
            shard = self.shards[self._shard(number)]
            local = number - int(self.begins[self._shard(number)])
            part = out[done : done + min(left, len(shard) - local, self.block)]
            shard.read(local, part)
            bad = first_bad_row(part, self.support)
            if bad is not None:
                row, value = bad
                raise ValueError(f"{shard.path}: row {local + row} holds {self._reason(value)}")
            done += len(part)

    def converted(self, values: _Array) -> Tensor:
        """Return rows that are as the files have them as they are when they are asked for."""
        tensor = torch.from_numpy(values)
        for function in self._functions:
            tensor = function(tensor)
        return tensor

    def _gathered(self, wanted: Numbers) -> _Array:
        """Return the rows at places as the files have them, each read once."""
        unique, inverse = np.unique(wanted, return_inverse=True)
        found = np.empty((len(unique), *self.stored_shape), self.stored_dtype)
        breaks = np.flatnonzero(np.diff(unique) != 1) + 1
        for begin, end in itertools.pairwise([0, *breaks.tolist(), len(unique)]):
            self.read(int(unique[begin]) if end else 0, found[begin:end])
        return found if len(found) == len(wanted) and _rises(wanted) else found[inverse]

    def _reason(self, value: float) -> str:
        if not math.isfinite(value) or self.support is None:
            return f"the value {value}; remove or impute it"
        return (
            f"the value {value:g}, outside the support {support_text(self.support)} that a sample "
            "of the rows has; repair the row, or say sampled=None, which looks at all rows for "
            "their support"
        )

    def _shard(self, number: int) -> int:
        return int(np.searchsorted(self.begins, number, "right")) - 1

    def _like(self, pieces: RowPieces, support: constraints.Constraint | None) -> Self:
        options = {"block": self.block, "buffer": self.buffer}
        rows = type(self)(self.shards, pieces=pieces, support=support, **options)
        rows._functions, rows._event = self._functions, self._event
        rows.dtype, rows.device = self.dtype, self.device
        return rows

    def _take(self, functions: tuple[Callable[[Tensor], Tensor], ...], example: Tensor) -> None:
        self._functions, self._event = functions, example.shape[1:]
        self.dtype, self.device = example.dtype, example.device


def _rises(wanted: Numbers) -> bool:
    return bool((np.diff(wanted) > 0).all())


def rows_of_map(values: object) -> RowsOnDisk | None:
    """Return the rows of an `np.memmap` of numbers, still unread; None of anything else."""
    if mapping_of(values) is None or not isinstance(values, np.memmap):
        return None
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8 or not values.size:
        return None
    array = MappedArray(values)
    width = math.prod(array.shape[1:]) * array.dtype.itemsize
    return RowsOnDisk([array], buffer=max(BUFFER, 2 * width))
