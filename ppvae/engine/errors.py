"""Refusals and reports of errors."""

import ast
import itertools
import linecache
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

_AT_SITE = "at site "
_SCORED = re.compile(r"Error while .+ at site '(?P<site>.*)':")
"""What Pyro puts in front of an error of a site's distribution."""

_TRACEBACK = re.compile(r"Traceback.*\(most recent call last\):$")
_INDENTED = ("  ", "\t")
_TABLES = ("Trace Shapes:", "tensor(", "Parameter containing:")  # no part of a sentence
_SHAPES = re.compile(
    r"(?:Value is not broadcastable with batch_shape\+event_shape|"
    r"The right-most size of value must match event_shape): "
    r"torch\.Size\((.*?)\) vs torch\.Size\((.*?)\)\.?"
)


class Unsupported(ValueError):
    """A diagnostic, an objective or a method does not apply to the given pair or data.

    The message says what was found, where (site, argument), and what to do. `diagnose` and the
    command line catch this type alone to report "does not apply". Every other exception is an
    error: `diagnose` reports one of the pair's own code, and raises any other.

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
    r"""Return the cause of an error in one line, which is never empty.

    It is the first line of the message, and what belongs to it: a line that ends in a colon goes
    on in the next ones, and so does Pyro's "Error while computing log_prob at site 'x':"; of a
    message that holds a traceback, as of a `DataLoader`'s worker, it is what that one ends in.
    Without a message it is that of the error's cause; else an assertion is shown as it stands in
    its file, and any other error by its type. The site that `at_site` has noted comes first.

    Example:
        >>> first_line(ValueError("one\ntwo")), first_line(NotImplementedError())
        ('one', 'NotImplementedError')
        >>> first_line(ValueError("Error while computing log_prob at site 'x':\nno such value"))
        "at site 'x': no such value"
    """
    if error is None:
        return "unknown error"
    lines = str(error).strip().splitlines()
    text = _summary(lines)
    hidden = error.__cause__ or (error.__context__ if text else None)
    if hidden and (not text or (len(lines) == 1 and text.endswith(":"))):
        text = f"{text} {first_line(hidden)}".strip()
    if not text and isinstance(error, AssertionError):
        text = statement_of(error)
    text = text or type(error).__name__
    for note in getattr(error, "__notes__", ()):
        if note.startswith(_AT_SITE) and note not in text:
            return f"{note}: {text}"
    return text


def _summary(lines: list[str]) -> str:
    """Return the cause that the lines of a message say, or "" of none."""
    if not lines:
        return ""
    raised = [place for place, line in enumerate(lines) if _TRACEBACK.search(line)]
    if raised:  # what is indented below is the traceback, what follows is the error
        return next((line for line in lines[raised[-1] + 1 :] if line[:1].strip()), lines[0])
    head, rest = lines[0].strip(), lines[1:]
    scored = _SCORED.fullmatch(head)
    if scored:
        return f"{_AT_SITE}{scored['site']!r}: {_summary(rest)}".strip()
    below = rest[:2] if head.endswith(":") else [r for r in rest[:1] if r.startswith(_INDENTED)]
    more = itertools.takewhile(lambda line: not line.startswith(_TABLES), map(str.strip, below))
    if said := "; ".join(filter(None, more)):
        head = f"{head.removesuffix(':')}: {said}"
    return _SHAPES.sub(r"shape mismatch of value and distribution, \1 vs \2", head)


def statement_of(error: BaseException) -> str:
    """Return the statement that raised an error as it stands in its file, or "" if unknown."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].lineno is None:
        return ""
    source, line = "".join(linecache.getlines(frames[-1].filename)), frames[-1].lineno
    try:
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)]
    except (SyntaxError, ValueError):
        return frames[-1].line or ""
    around = [node for node in nodes if node.lineno <= line <= (node.end_lineno or line)]
    if not around:
        return frames[-1].line or ""
    found = min(around, key=lambda node: (node.end_lineno or line) - node.lineno)
    return " ".join((ast.get_source_segment(source, found) or "").split())


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


def at_site(name: str) -> AbstractContextManager[None]:
    """Note on an exception that leaves the block at which site it was raised."""
    return noted(f"{_AT_SITE}{name!r}")
