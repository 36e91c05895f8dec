"""Reads in a thread what is needed next, while what was read before is used."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar, final

T = TypeVar("T")


@final
class ReadAhead(Generic[T]):
    """Yields what is read, in order; the next is read by a thread of its own.

    Not more than one is read ahead. An exception of the thread is raised where its result is
    asked for.

    Args:
        read: called in the thread with the number of what is to be read and with a function that
            tells whether it is still needed.
        numbers: of what is to be read.

    Example:
        >>> ahead = ReadAhead(lambda number, needed: number**2, range(3))
        >>> list(ahead)
        [0, 1, 4]
    """

    def __init__(
        self, read: Callable[[int, Callable[[], bool]], T], numbers: Iterable[int]
    ) -> None:
        self._read = read
        self._numbers = iter(numbers)
        self._ended = threading.Event()
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._thread = self._begun()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        """Return what is read next, when it is there; begin to read what follows."""
        if self._thread is None:
            raise StopIteration
        self._thread.join()
        if self._error is not None:
            error, self._error, self._thread = self._error, None, None
            raise error
        found = self._found.pop()
        self._thread = self._begun()
        return found

    def end(self) -> None:
        """End the thread; what it has read is lost."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _begun(self) -> threading.Thread | None:
        number = next(self._numbers, None)
        if number is None:
            return None

        def run() -> None:
            try:
                self._found.append(self._read(number, lambda: not self._ended.is_set()))
            except BaseException as error:
                self._error = error

        thread = threading.Thread(target=run, name="ppvae reads ahead", daemon=True)
        thread.start()
        return thread
