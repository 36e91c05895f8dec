"""What one file leads to, and whether that may be."""

import contextlib
import resource
import signal
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5.0
BYTES = 2**31 + 2**26  # a page of Parquet may state 2 GiB; and what a library takes besides
_LONGEST = 1500  # characters of a sentence
_REFUSALS = (ValueError, TypeError, OSError)


class TooLong(BaseException):
    """A reader that does not end."""


@dataclass(frozen=True)
class Outcome:
    """What reading a file led to.

    Args:
        where: what distinguishes it from other outcomes: the type of the error, and its lines.
        said: the sentence of the refusal, or "" of a value.
        finding: why it may not be, or "".
    """

    where: tuple
    said: str = ""
    finding: str = ""


def outcome(read, path: Path) -> Outcome:
    """Read a file, and judge what happens."""
    try:
        with time_limit(), warnings.catch_warnings():
            warnings.simplefilter("error")
            value = read(path)
    except TooLong:
        return Outcome(("too long",), finding=f"it takes more than {SECONDS:g} s")
    except BaseException as error:
        return _of_error(error, path)
    return Outcome(("value", type(value).__name__))


def _of_error(error, path):
    chain = [error]
    while len(chain) < 9 and (below := chain[-1].__cause__ or chain[-1].__context__):
        chain.append(below)
    where = tuple(
        (type(one).__name__, *((f.filename.rpartition("/")[2], f.lineno) for f in frames[-3:]))
        for one in chain
        for frames in [traceback.extract_tb(one.__traceback__)]
    )
    said = str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    shown = f"{type(error).__name__}: {said:.200} ({last.filename}:{last.lineno})"
    if any(isinstance(one, MemoryError) for one in chain):
        return Outcome(where, said, f"it asks for more than {BYTES >> 30} GiB: {shown}")
    if not isinstance(error, _REFUSALS) or isinstance(error, ImportError):
        return Outcome(where, said, f"no refusal: {shown}")
    if isinstance(error, OSError) and error.filename is not None:
        said = f"{error.filename}: {error.strerror}"
    if "\n" in said or not said.strip() or len(said) > _LONGEST:
        return Outcome(where, said, f"no sentence: {shown}")
    ours = "/ppvae/" in last.filename
    if not ours and not any(name in said for name in (str(path), str(path.parent))):
        return Outcome(where, said, f"it is no refusal of ours, and names no file: {shown}")
    return Outcome(where, said)


@contextlib.contextmanager
def time_limit():
    """Raise `TooLong` in what runs for more than the time that it has."""

    def end(number, frame):
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_memory():
    """Let this process have 2 GiB more than it has now, and a little."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)
