"""One process at a time trains into a folder."""

import contextlib
import errno
import fcntl
import logging
import os
import socket
import threading
import time
from pathlib import Path

from ppvae.inference.persistence.files import make_folder, refuse_other_than_file

LOCK = "training.lock"
"""The file by which a folder is locked."""

_LOG = logging.getLogger(__name__)
_PATIENCE = 10.0  # seconds for what a killed process has started to end: loaders' workers need 5


class Lock:
    """Keeps other trainings out of a folder, as long as a `with` block lasts.

    The system holds the lock (`flock`), and releases it when the process ends, even by SIGKILL: a
    lock file that was left behind locks nothing. The thread that holds it may enter again. Where
    the file system has no locks, a warning is logged, and nobody is kept out.

    Args:
        folder: the folder; made if missing.

    Raises:
        OSError: on entry, if another process or thread holds it: the message names process and
            host.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Lock(folder):
        ...     try:
        ...         with Lock(folder):
        ...             pass
        ...     except OSError as error:
        ...         print(error.strerror.startswith(f"process {os.getpid()} on "))
        True
        >>> [*folder.iterdir()]  # the file is removed at the end
        []
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._holder: tuple[int, int] | None = None  # process and thread
        self._descriptor = -1
        self._entered = 0
        self._made: list[Path] = []

    def __enter__(self) -> "Lock":
        here = (os.getpid(), threading.get_ident())
        if self._holder != here:
            made = make_folder(self.path.parent)
            self._descriptor = self._acquire()
            self._holder, self._entered, self._made = here, 0, made
        self._entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if self._entered:
            return
        held = self._holder is not None and self._holder[0] == os.getpid()
        self._holder = None
        if held:  # a forked process has the descriptor, but not the lock
            if self._is_at_path(self._descriptor):
                self.path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            with contextlib.suppress(OSError):  # something was written there
                for folder in self._made:
                    folder.rmdir()
        os.close(self._descriptor)

    def _acquire(self) -> int:
        """Return the descriptor of the file, locked."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            refuse_other_than_file(self.path)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                said = os.pread(descriptor, 300, 0).decode(errors="replace").split()
                os.close(descriptor)
                if not _has_ended(said) or time.monotonic() > deadline:
                    raise OSError(errno.EBUSY, _refusal(said), str(self.path.parent)) from None
                time.sleep(0.1)
                continue
            except OSError as error:
                _LOG.warning(
                    "%s is not locked, since its file system has no locks (%s): start no second "
                    "training there meanwhile",
                    self.path.parent,
                    error.strerror,
                )
                return descriptor
            if self._is_at_path(descriptor):
                with contextlib.suppress(OSError):  # a full disk: it is locked without a name
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
                return descriptor
            os.close(descriptor)  # who held it has just removed the file

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)


def _has_ended(said: list[str]) -> bool:
    """Tell whether a process of this machine is gone, by what it wrote into the lock file."""
    if len(said) != 2 or said[1] != socket.gethostname() or not said[0].isdecimal():
        return False
    try:
        os.kill(int(said[0]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def _refusal(said: list[str]) -> str:
    who = f"process {said[0]} on {said[1]}" if len(said) == 2 else "another process"
    return f"{who} trains into this folder; wait until it has ended, or end it"
