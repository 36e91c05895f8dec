"""Anneals the chains of all datapoints, group by group."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from threading import Event
from typing import TypeVar

import torch

from ppvae.engine import (
    Batch,
    Pair,
    draw_chunks,
    first_rows,
    progress_bar,
    random_state,
    refuse_unnormalized,
    seeds,
    set_random_state,
    vectorizable,
)
from ppvae.engine.compilation import generate, replay
from ppvae.refinement import (
    CACHED,
    Annealing,
    Begun,
    Chains,
    PathCode,
    StepSizes,
    Stopped,
    in_threads,
    seconds_without_code,
    single_threaded,
)

_COPIES = 3  # of the tensors of one run, kept while a gradient is computed
_CAPTURED = 10.0  # seconds without code from which it pays to capture graphs and replay them
_COMPILED = 60.0  # and to compile them, which takes fifteen or more

Result = TypeVar("Result")
S = TypeVar("S", bound="Started")


@dataclass(frozen=True)
class Started:
    """Chains of some datapoints; where code moves them, they are drawn from the start already.

    Args:
        chains: the chains.
        pilot: those of the pilot run.
        begun: their own.
    """

    chains: Chains
    pilot: Begun | None
    begun: Begun | None

    @classmethod
    def of(cls, chains: Chains) -> "Started":
        """Draw from the start, if there may be code."""
        return cls(chains, *drawn(chains))

    @property
    def compiled(self) -> bool:
        """Whether threads can move them."""
        every = (self.begun, self.pilot)
        return self.begun is not None and all(one is None or one.compiled for one in every)

    def annealed(self) -> tuple[StepSizes, Begun]:
        """Tune the step sizes; return them, and the chains at the start."""
        chains = self.chains
        sizes = chains.step_sizes(self.pilot)
        return sizes, self.begun or chains.begun(chains.annealing.chains)


def drawn(chains: Chains) -> tuple[Begun | None, Begun | None]:
    """Return chains at draws of the start, for the pilot run and their own, if there may be code.

    Threads can then move them without running the pair.
    """
    if chains.code is None:
        return None, None
    return chains.pilot(), chains.begun(chains.annealing.chains)


@dataclass(frozen=True)
class Groups:
    """All chains of all datapoints, cut into groups that are annealed one by one.

    Args:
        annealing: how they are annealed.
        runs: how often, forward and backward.
        memory: bound in bytes on the intermediate tensors.
        seed: of the random numbers of the transitions.
        progress: show a progress bar; only on a terminal, unless given.
    """

    annealing: Annealing
    runs: int
    memory: int
    seed: int
    progress: bool | None

    def annealed(
        self,
        pair: Pair,
        batch: Batch,
        start: Callable[[Chains], S],
        run: Callable[[S], Result],
        *,
        fill: bool,
    ) -> Iterator[Result]:
        """Yield the result of each group, in the order of the datapoints.

        Where there is enough to compute, and the pair can be captured, the groups are small enough
        for the caches, their densities are graphs or code, and threads share them. Otherwise
        groups are as large as the memory allows. The random numbers depend on the groups, and
        on whether there is code.

        Args:
            pair: the model/guide pair.
            batch: the datapoints.
            start: draws the chains of a group from the start.
            run: anneals them.
            fill: let the last group be as large as the others by repeating the first datapoints,
                whose results come last.
        """
        transitions, stop = self._transitions, Event()
        with progress_bar(
            total=len(batch[0]) * transitions,
            unit=" transitions",
            unit_scale=True,
            progress=self.progress,
        ) as bar:

            def done(rows: int) -> None:
                if stop.is_set():
                    raise Stopped
                bar.update(rows)

            share = max(1, self.memory // (_COPIES * self.annealing.chains))
            state = random_state()
            seconds = self._seconds(pair, batch, share)
            if seconds >= _CAPTURED:
                with single_threaded() as threads:
                    rows = self._cached_rows(pair, batch, threads)
                    small = min(share, int((rows + 0.5) * _bytes(pair, batch)))
                    set_random_state(state)
                    given = _filled(batch, rows) if fill else batch
                    bar.total = len(given[0]) * transitions
                    code = PathCode(generate if seconds >= _COMPILED else replay)
                    started = map(start, self._groups(pair, given, small, code, done))
                    first = next(started)
                    if first.compiled:
                        tasks = chain([first], started)
                        yield from in_threads(tasks, run, threads, stop, apart=_uncompiled)
                        return
            set_random_state(state)
            bar.total = len(batch[0]) * transitions
            for group in self._groups(pair, batch, share, None, done):
                yield run(start(group))

    @property
    def _transitions(self) -> int:
        own = self.runs * (self.annealing.temperatures - 1)
        return self.annealing.pilot_transitions + own

    def _groups(
        self,
        pair: Pair,
        batch: Batch,
        memory: int,
        code: PathCode | None,
        done: Callable[[int], None],
    ) -> Iterator[Chains]:
        vectorized, own = None, seeds(self.seed)
        for chunk, structure, _ in draw_chunks(pair, batch, 1, memory, compile=False):
            refuse_unnormalized(structure)
            if vectorized is None:
                vectorized = vectorizable(pair, chunk, structure)
            generator = None if code is None else torch.Generator().manual_seed(next(own))
            report = partial(done, len(chunk[0]))
            yield Chains(
                self.annealing, pair, chunk, structure, vectorized, {}, report, generator, code
            )

    def _seconds(self, pair: Pair, batch: Batch, memory: int) -> float:
        """Return about how long the chains take without code."""
        chunk, structure, _ = next(iter(draw_chunks(pair, batch, 1, memory, compile=False)))
        rows = len(batch[0])
        calls = self._transitions * (self.annealing.leapfrogs + 1)
        draws = rows * self.annealing.chains
        chunks = -(-rows // len(chunk[0]))
        bytes = calls * draws * structure.bytes_per_draw
        return seconds_without_code(calls * chunks, bytes)

    def _cached_rows(self, pair: Pair, batch: Batch, threads: int) -> int:
        """Return how many datapoints make a group: alike in all if possible, one set a thread."""
        rows = len(batch[0])
        most = max(1, int(CACHED / (_bytes(pair, batch) * self.annealing.chains)))
        fewest = -(-rows // most)
        fewest = min(rows, -(-fewest // threads) * threads)
        even = (count for count in range(fewest, 3 * fewest // 2 + 1) if rows % count == 0)
        return -(-rows // next(even, fewest))


def _bytes(pair: Pair, batch: Batch) -> float:
    return first_rows(pair, batch, 256)[1].bytes_per_draw


def _uncompiled(started: Started) -> bool:
    return not started.compiled


def _filled(batch: Batch, rows: int) -> Batch:
    """Repeat the first datapoints until the number of all is a multiple of `rows`."""
    count = -(-len(batch[0]) // rows) * rows
    places = torch.arange(count, device=batch[0].device) % len(batch[0])
    return tuple(tensor[places.to(tensor.device)] for tensor in batch)
