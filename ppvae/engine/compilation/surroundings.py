"""What the code generator needs of the machine, and what it says where it has not got it."""

import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ppvae.engine.compilation.capture_error import CaptureError, NoCode
from ppvae.engine.compilation.torch_generator import compilers
from ppvae.engine.compilation.torch_internals import code_folder
from ppvae.engine.errors import first_line

_SECONDS = 60.0  # that a compiler may take to say its version
_ROOT = "torch"
_WISHES = "TORCH_LOGS"  # by which a user asks for torch's log


def check_surroundings() -> None:
    """Refuse to generate code where there is no compiler, or no folder to write it to.

    To find out takes milliseconds; the generator itself would find out after seconds.

    Raises:
        NoCode: with what is missing.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise NoCode("no code could be generated: the current folder was removed") from error
    try:
        folder = code_folder()
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise no_code(error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise NoCode(
            f"no code could be generated: its folder {folder} cannot be written to; "
            "TORCHINDUCTOR_CACHE_DIR names another"
        )
    refusals = [_refusal(name) for name in compilers()]
    if all(refusals):
        raise NoCode(f"no code could be generated: {'; '.join(refusals) or 'no C++ compiler'}")


def no_code(error: Exception) -> CaptureError:
    """Return why no code could be generated: what the system or the compiler says, in one line."""
    output = getattr(error, "output", None)  # of a compiler that failed
    if isinstance(output, str):
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        told = next(
            (line for line in lines if "error" in line.lower()), (lines or ["it says nothing"])[0]
        )
        return NoCode(f"no code could be generated: the C++ compiler failed: {told:.300}")
    kind = NoCode if isinstance(error, OSError) else CaptureError
    return kind(f"no code could be generated: {first_line(error):.300}")


def _refusal(compiler: str) -> str:
    """Return why a compiler cannot be run, or ""."""
    try:
        subprocess.run([compiler, "--version"], check=True, capture_output=True, timeout=_SECONDS)
    except OSError as error:
        return f"the C++ compiler {compiler!r} cannot be run ({error.strerror})"
    except subprocess.SubprocessError:
        return f"the C++ compiler {compiler!r} fails"
    return ""


@contextmanager
def without_log() -> Iterator[None]:
    """Keep torch from writing pages of log in this thread, unless the user has asked for them.

    What the log would say is said by an error of one line, or it is of no consequence.
    """
    if os.environ.get(_WISHES):
        yield
        return
    others = _Others(threading.get_ident())
    handlers = [handler for logger in _loggers() for handler in logger.handlers]
    for handler in handlers:
        handler.addFilter(others)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(others)


class _Others(logging.Filter):
    """Lets pass what other threads log."""

    def __init__(self, thread: int) -> None:
        super().__init__()
        self.thread = thread

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is of another thread."""
        return record.thread != self.thread


def _loggers() -> list[logging.Logger]:
    known = list(logging.root.manager.loggerDict.items())
    return [
        logger
        for name, logger in known
        if isinstance(logger, logging.Logger) and name.partition(".")[0] == _ROOT
    ]
