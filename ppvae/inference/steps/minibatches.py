"""Where a training's minibatches come from."""

import itertools
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from ppvae.engine import (
    PLAIN,
    Adapted,
    Arguments,
    Batch,
    Form,
    Pair,
    Processes,
    RandomState,
    Reading,
    arguments_of,
    batch_of,
    random_state,
    row_chunks,
)
from ppvae.inference.steps.worker_copies import WorkerCopies

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


class InMemory:
    """Tensors in memory, gathered in a new random order each epoch.

    A single last row is joined to the minibatch before: normalization over a minibatch needs two.
    """

    began: RandomState | None = None

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


class SharedRows(Sampler[list[int]]):
    """Numbers of the rows that one of several processes reads of each minibatch.

    All processes draw the same order. A single last row is joined to the minibatch before.

    Args:
        rows: of all data.
        size: rows of a minibatch, those of all processes together.
        processes: those that share it.
    """

    def __init__(self, rows: int, size: int, processes: Processes) -> None:
        self.processes = processes
        steps, last = division(rows, size)
        self.sizes = [size] * (steps - 1) + [last]

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        # The order that a loader of one process has.
        order = iter(RandomSampler(range(sum(self.sizes))))
        for size in self.sizes:
            own, _ = self.processes.share(size)
            yield list(itertools.islice(order, size))[own]


class Streamed:
    """Batches that the caller makes, such as a `DataLoader`'s.

    The first epoch goes on from the batch that `first` has read: a source that can be passed over
    only once loses none. A single last row is joined to the batch before.

    Args:
        source: yields batches.
        pair: what they are for.
        reading: how a batch is made of what the source yields.
        shared: which rows of each minibatch the source yields to this one of several processes;
            all unless given.
    """

    def __init__(
        self,
        source: Iterable[Any],
        pair: Pair,
        reading: Reading | None = None,
        shared: SharedRows | None = None,
    ) -> None:
        self._shared = shared
        self.rows: int | None = None
        self.steps: int | None = None
        # May be wrong, as that of a stream with several workers.
        self.expected: int | None = _length(source)
        self.total: int | None = _total(source) if shared is None else sum(shared.sizes)
        self.batch_size: int | None = None
        self.began: RandomState | None = None
        self._source = source
        self._pair = pair
        self._reading = reading or Reading(pair)
        self._made_by_caller = isinstance(source, Sequence)
        self.form = PLAIN
        self._first: tuple[Batch, Form] | None = None
        self._opened: Iterator[tuple[Batch, Form]] | None = None
        self._real: bool | None = None  # whether datapoints are floating values
        self._full = 0  # rows of the largest batch so far

    def __iter__(self) -> Iterator[Minibatch]:
        """Yield the caller's batches, checked and moved to the pair."""
        batches = self._batches() if self._opened is None else self._opened
        self.restart()
        if self._shared is not None:
            sizes, processes = self._shared.sizes, self._shared.processes
            for (batch, form), rows in zip(batches, sizes, strict=True):
                yield Minibatch(batch, None, self._full, form, processes.share(rows)[1], rows)
            return
        number = _processes_of(self._source)
        for batch, form in self._joined(batches):
            joint = number * len(batch[0]) if number else 0
            yield Minibatch(batch, None, self._full, form, joint=joint)

    def first(self, rows: int) -> Batch:
        """Return rows of the first batch of the source, the same at each call."""
        if self._first is None:
            self.began = random_state()
            batches = self._batches()
            batch = next(batches, None)
            if batch is None:
                raise ValueError("data yields no batch; expected at least one")
            self._first, self._opened = batch, itertools.chain([batch], batches)
            self.form = self._first[1]
        return tuple(tensor[:rows] for tensor in self._first[0])

    def restart(self) -> None:
        """Read the next epoch anew, even where its first minibatch has been read."""
        self._opened = self.began = None

    def _batches(self) -> Iterator[tuple[Batch, Form]]:
        copies = WorkerCopies(self._source)
        for parts in self._source:
            arguments = self._arguments(parts)
            batch, form = batch_of(
                self._pair, arguments, real=self._real, argument="a batch of data"
            )
            self._real = batch[0].is_floating_point()
            self._full = max(self._full, len(batch[0]))
            copies.look(batch[0])
            yield batch, form
        copies.compare()

    def _arguments(self, item: Any) -> Arguments:
        """Return the arguments of a batch; labels of a list that the caller made are refused."""
        if self._made_by_caller and self._reading.batch is None:
            return arguments_of(item, split="train")
        return self._reading.arguments(item)

    def _joined(self, batches: Iterator[tuple[Batch, Form]]) -> Iterator[tuple[Batch, Form]]:
        """Yield batches; one of a single row, read in advance, is joined to the one before."""
        before: tuple[Batch, Form] | None = None
        for number in itertools.count(1):
            try:
                batch = next(batches, None)
            except Exception:
                if before is not None:  # it was read without an exception
                    yield before
                raise
            if before is not None and batch is not None and _can_join(before, batch):
                parts = zip(before[0], batch[0], strict=True)
                yield tuple(torch.cat(tensors) for tensors in parts), before[1]
                before = None
                continue
            if before is not None:
                yield before
            if batch is None:
                return
            # Only the last batch is read in advance, where it is known which that is: a source
            # may draw random numbers.
            before = batch if self.expected in (None, number + 1) else None
            if before is None:
                yield batch


def _can_join(before: tuple[Batch, Form], last: tuple[Batch, Form]) -> bool:
    """Tell whether a batch is a single row that can be joined to the one before."""
    alone = len(last[0][0]) == 1 < len(before[0][0])
    return alone and before[1].kind == last[1].kind


def _length(source: Iterable[Any]) -> int | None:
    """Return how many batches an epoch has, if the source knows."""
    try:
        return len(source)  # type: ignore[arg-type]  # `source` may be of any type
    except (TypeError, NotImplementedError):  # such as a DataLoader of an endless stream
        return None


def _total(source: Iterable[Any]) -> int | None:
    """Return how many rows the data of a source have, if it says so."""
    if isinstance(source, list):
        parts = [_first_part(batch) for batch in source]
        return sum(len(part) for part in parts if hasattr(part, "__len__"))
    if isinstance(source, DataLoader) and source.batch_size is not None:
        whole = isinstance(source.sampler, SequentialSampler | RandomSampler)
        return len(source.dataset) if whole else None  # type: ignore[arg-type]  # they need it
    return None


def _processes_of(source: Iterable[Any]) -> int | None:
    """Return among how many processes a loader divides its rows by itself, if it does."""
    sampler = getattr(source, "sampler", None)
    return sampler.num_replicas if isinstance(sampler, DistributedSampler) else None


def _first_part(batch: Any) -> Any:
    """Return what has the rows of a batch."""
    if isinstance(batch, dict):
        batch = tuple(batch.values())
    return next(iter(batch), None) if isinstance(batch, tuple | list) else batch


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
