"""Minibatches that the caller or torch's loader makes."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
)

from ppvae.engine import (
    PLAIN,
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
)
from ppvae.inference.steps.minibatches import Minibatch, division
from ppvae.inference.steps.worker_copies import WorkerCopies


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

    drawn_at_start = False  # a loader draws when it likes

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
