"""Refusals and reports of errors."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Unsupported(ValueError):
    """A diagnostic, an objective or a method does not apply to the given pair or data.

    The message says what was found, where (site, argument), and what to do. `diagnose` and the
    command line catch this type alone to report "does not apply"; every other exception is an
    error of the program and is raised.

    Example:
        >>> import ppvae, torch
        >>> from ppvae import data, diagnostics, pairs
        >>> pair = pairs.assemble(data.digits(), latent=2)
        >>> try:
        ...     diagnostics.surgery(pair, data.digits().test[:1])
        ... except ppvae.Unsupported as refusal:
        ...     print(refusal)
        surgery needs at least 2 datapoints, got 1
    """


def first_line(error: BaseException | None) -> str:
    r"""Return the first line of an error's message, or the name of its type if it has none.

    Example:
        >>> first_line(ValueError("one\ntwo")), first_line(NotImplementedError())
        ('one', 'NotImplementedError')
    """
    if error is None:
        return "unknown error"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def warn_caller(message: str, category: type[Warning] = RuntimeWarning) -> None:
    """Give a warning at the line that called this package, or Pyro in between.

    Example:
        >>> with warnings.catch_warnings(record=True) as told:
        ...     warnings.simplefilter("always")
        ...     warn_caller("not compiled")
        >>> [str(warning.message) for warning in told]
        ['not compiled']
    """
    depth, frame = 1, sys._getframe(0)
    while frame.f_back is not None and _inside(frame.f_globals.get("__name__", "")):
        depth, frame = depth + 1, frame.f_back
    warnings.warn(message, category, stacklevel=depth)


def _inside(module: str) -> bool:
    return module.partition(".")[0] in ("ppvae", "pyro", "torch", "contextlib")


@contextmanager
def noted(note: str | Callable[[], str]) -> Iterator[None]:
    """Add a note to an exception that leaves the block: where it was raised, and on which data.

    The exception keeps its type, its message and its traceback. A refusal of ours says itself
    where it comes from and gets no note.

    Args:
        note: the note, or a function that writes it once there is an exception.

    Example:
        >>> try:
        ...     with noted("at step 3"):
        ...         raise ConnectionError("offline")
        ... except ConnectionError as error:
        ...     print(error, error.__notes__)
        offline ['at step 3']
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, Unsupported):
            error.add_note(note if isinstance(note, str) else note())
        raise
