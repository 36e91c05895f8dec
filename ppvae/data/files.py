"""What is checked of a file before it is read, and how a damaged one is named."""

import contextlib
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

_LIMIT = Path("/sys/fs/cgroup/memory.max")  # that of a container, where there is one
REFLATION = 1032
"""How many bytes the deflate format can make of one."""
_FEW_UNPACKED = 2**26  # bytes that a packed file may have in any case


def check_plain(path: Path) -> None:
    """Refuse what is no plain file, such as a folder or a pipe.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is something else than a file.
    """
    if path.is_file():
        return
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a file")
    path.stat()  # the system says that there is none
    raise ValueError(f"{path} is no plain file; copy its content into one")


_FEWER = "take fewer rows, or save the values as .npy, which is not read whole"


def check_memory(path: Path, needed: int, instead: str = _FEWER) -> None:
    """Refuse a file whose values need more memory than the machine has.

    Args:
        path: the file.
        needed: the bytes that are needed.
        instead: what to do.

    Raises:
        ValueError: if they do.
    """
    if needed > memory():
        raise ValueError(
            f"{path} asks for {needed / 2**30:,.1f} GiB, more than the memory of this machine; "
            f"{instead}"
        )


def memory() -> float:
    """Return the bytes of memory that the machine, or the container, has."""
    sizes = [float("inf")]
    with contextlib.suppress(OSError, ValueError):
        sizes.append(float(_LIMIT.read_text()))
    with contextlib.suppress(AttributeError, OSError, ValueError):  # a system without sysconf
        sizes.append(float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    return min(sizes)


class DamagedFile(ValueError):
    """A file that cannot be read, with its name and the reason in one sentence."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {' '.join(reason.split()):.300}")


class Unpacked(io.RawIOBase):
    """What a packed file holds; more of it than the file can be meant to hold is refused.

    A few bytes of bzip2 or xz can stand for any number of others. Here they may stand for as many
    as gzip's could, and for no more than the machine can take.

    Args:
        path: the packed file.
        content: what is read of it.
        per_byte: bytes of memory that one of its content takes.

    Raises:
        DamagedFile: at the byte that is one too many.
    """

    def __init__(self, path: Path, content: IO[bytes] | gzip.GzipFile, per_byte: int = 1) -> None:
        super().__init__()
        self._path, self._content = path, content
        few = max(_FEW_UNPACKED, REFLATION * path.stat().st_size)
        self._left = self._most = int(min(few, memory() / per_byte))

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read some bytes into a buffer; return their number, 0 at the end."""
        content = self._content.read(min(len(buffer), self._left + 1))
        self._left -= len(content)
        if self._left < 0:
            raise DamagedFile(
                self._path,
                f"it unpacks to more than {self._most / 2**20:,.0f} MiB; if that is right, unpack "
                "it yourself and take fewer rows",
            )
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        """Close the packed file."""
        self._content.close()
        super().close()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Name the file in whatever a library raises while it reads bytes that may be anything.

    Only calls of libraries stand inside: on damaged bytes they raise nearly every exception that
    there is. What the system says of a file, such as that it may not be read, is left alone.

    Raises:
        DamagedFile: in place of the library's exception.
    """
    try:
        yield
    except DamagedFile:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        reason = str(error) if str(error).strip() else type(error).__name__
        raise DamagedFile(path, reason) from error
