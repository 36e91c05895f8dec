"""The processes that work on one pair together, as `torchrun` starts them."""

import atexit
import importlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from ppvae.engine.isolation import RandomState, random_state, seeds, set_random_state

S = TypeVar("S")
T = TypeVar("T")


class OtherProcessFailed(RuntimeError):
    """Another process has raised an exception in what all do together."""


class Processes:
    """This process among those that work together; one alone unless there is a process group.

    All of them have the same weights and take the same steps, each on its share of the rows of a
    minibatch. What is read, such as the order of an epoch, is drawn from random numbers that all
    have in common. What the programs draw is drawn from each process's own.

    Args:
        rank: the number of this process, from 0.
        number: how many there are.

    Attributes:
        rank: the number of this process.
        number: how many there are.
        common: the state of the random numbers in common, once they are apart from the own.
    """

    def __init__(self, rank: int = 0, number: int = 1) -> None:
        self.rank, self.number = rank, number
        self.common: RandomState | None = None

    @classmethod
    def present(cls) -> "Processes":
        """Return those of the present process group, which is made where `torchrun` asks for it.

        The default group of `torch.distributed` is taken if there is one.
        """
        if not dist.is_available():
            return cls()
        if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            if not dist.is_torchelastic_launched():
                return cls()
            _join()
        if not dist.is_initialized():
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def several(self) -> bool:
        """Whether there is more than this one."""
        return self.number > 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks for all."""
        return self.rank == 0

    def share(self, rows: int) -> tuple[slice, int]:
        """Return which of a minibatch's rows are this process's, and how many have the same.

        The rows are divided as evenly as they can be. Of fewer than two for each process, all
        have all of them: a normalization over rows needs two.

        Example:
            >>> Processes(1, 3).share(11), Processes(1, 3).share(5)
            ((slice(4, 8, None), 1), (slice(0, 5, None), 3))
        """
        if rows < 2 * self.number:
            return slice(0, rows), self.number
        each, more = divmod(rows, self.number)
        start = self.rank * each + min(self.rank, more)
        return slice(start, start + each + (self.rank < more)), 1

    def divide_draws(self, seed: int) -> None:
        """Go on with random numbers of this process's own; keep those in common for `reading`."""
        self.common = random_state()
        own = next(itertools.islice(seeds(seed), self.rank, None))
        torch.manual_seed(own)
        random.seed(own)
        np.random.seed(own % 2**32)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Draw from the random numbers in common inside the block."""
        if self.common is None:
            yield
            return
        own = random_state()
        set_random_state(self.common)
        try:
            yield
        finally:
            self.common = random_state()
            set_random_state(own)

    def add(self, numbers: Tensor) -> None:
        """Replace numbers by their sum over all processes.

        Raises:
            ConnectionError: if another process is gone.
        """
        with _lost():
            dist.all_reduce(numbers)

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Give tensors the values that they have in the first process."""
        with _lost(), torch.no_grad():
            for tensor in tensors if self.several else ():
                dist.broadcast(tensor, src=0)

    def gathered(self, value: T) -> list[T]:
        """Return what each process has, in order; it must be what pickle can hold."""
        values: list[Any] = [value] * self.number
        if self.several:
            with _lost():
                dist.all_gather_object(values, value)
        return values

    def divided(self, items: Iterable[S], compute: Callable[[int, S], T]) -> list[T]:
        """Return what `compute(place, item)` returns for each item; each process takes a part.

        Raises:
            OtherProcessFailed: if it raises in another process.
            Exception: what it raises here.
        """
        found: dict[int, T] = {}
        failure: Exception | None = None
        try:
            for place, item in enumerate(items):
                if place % self.number == self.rank:
                    found[place] = compute(place, item)
        except Exception as error:  # raised below, when the other processes know of it
            failure = error
        every = self.gathered(None if failure else found)
        if failure is not None:
            raise failure
        joined: dict[int, T] = {}
        for rank, part in enumerate(every):
            if part is None:
                raise OtherProcessFailed(f"process {rank} failed")
            joined |= part
        return [joined[place] for place in sorted(joined)]

    def of_first(self, value: T) -> T:
        """Return what the first process has."""
        values = [value]
        if self.several:
            with _lost():
                dist.broadcast_object_list(values, src=0)
        return values[0]


@contextmanager
def _lost() -> Iterator[None]:
    """Say what it means that a message between processes failed."""
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            "another process of the training has ended; go on from its last checkpoint"
        ) from error


def _join() -> None:
    """Make the default process group of the processes that `torchrun` has started.

    Their store outlives them: where they are started again, it still holds the addresses of their
    last attempt (https://github.com/pytorch/pytorch/issues/135712). Each has keys of its own here.
    """
    # Its functions take the group that they find as a default, and would keep one that is made
    # before: its threads would then outlive `_leave`, and could abort an ending interpreter.
    importlib.import_module("torch.distributed.nn")
    store, rank, number = next(rendezvous("env://"))
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    own = dist.PrefixStore(f"ppvae/{attempt}", store)  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=own, rank=rank, world_size=number)
    atexit.register(_leave)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
