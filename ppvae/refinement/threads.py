"""Work on several cores at once, each with a thread of its own."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

import torch

Task = TypeVar("Task")
Result = TypeVar("Result")


class Stopped(Exception):
    """The main thread has failed or was interrupted, and waits for this one to end."""


@contextmanager
def single_threaded() -> Iterator[int]:
    """Let torch's operations use one thread inside the block; give the number they used before."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield count
    finally:
        torch.set_num_threads(count)


def in_threads(
    tasks: Iterable[Task],
    work: Callable[[Task], Result],
    threads: int,
    stop: Event,
    *,
    apart: Callable[[Task], bool],
) -> Iterator[Result]:
    """Yield the result of each task, in order, computed by that many threads.

    The tasks are made in the calling thread, a few ahead of the results. Gradients are off.

    Args:
        tasks: the tasks.
        work: what is done with each; it must neither run Pyro nor use torch's random state.
        threads: number of threads.
        apart: tells which tasks the calling thread works on itself.
        stop: set where the work is to end early; `work` looks at it and raises `Stopped`.
    """

    def working(task: Task) -> Result:
        with torch.no_grad():
            return work(task)

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for task in tasks:
                if apart(task):
                    own: Future[Result] = Future()
                    own.set_result(work(task))
                    waiting.append(own)
                else:
                    waiting.append(pool.submit(working, task))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            stop.set()
            for future in waiting:
                future.cancel()
            raise
