"""What went wrong on the command line, in one sentence."""

import contextlib
import sys
import traceback
from argparse import ArgumentError

_LONGEST = 2000  # characters of a message

INTERRUPTED = 130
"""The exit code of a program that was interrupted, as shells have it."""

_PLAIN = (
    # Parts of jsonargparse's messages that name types as Python prints them. A message in other
    # words is shown as it is.
    ("Expected a <class '", "expected a value of type "),
    ("'>. Got value: ", ", got "),
    ("Expected a dot import path string: ", "there is no class of the name "),
)


def complain(message: str, code: int = 2) -> int:
    """Print one line of complaint, below what was printed before, and return the exit code.

    What a terminal would not print but obey, as a file may hold it, is shown as its code.
    """
    line = " ".join(message.split())
    line = line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    with contextlib.suppress(OSError, ValueError):  # its reader may be gone
        sys.stdout.flush()
    print(f"ppvae: error: {shown}", file=sys.stderr, flush=True)
    return code


def report(error: BaseException, traced: bool = False) -> int:
    """Print an error as one line, below its traceback if asked for; return the exit code.

    Returns:
        2 for what a user can put right: an argument, a value, a file, a module that is missing;
        1 for any other error, which may be a bug.
    """
    if traced:
        traceback.print_exception(error)
    wrong_use = isinstance(error, ArgumentError | ValueError | TypeError | OSError | ImportError)
    return complain(sentence(error, hint=not traced), code=2 if wrong_use else 1)


def sentence(error: BaseException, hint: bool = True) -> str:
    """Return what an error says, with its notes.

    Refusals, wrong arguments and files that the system refuses speak for themselves. Any other
    error is named by its type. It, and an error with notes, ends with how to see its traceback.

    Example:
        >>> error = ConnectionError("line one, more below")
        >>> error.add_note("at step 3")
        >>> sentence(error, hint=False)
        'ConnectionError: line one, more below (at step 3)'
    """
    notes: list[str] = getattr(error, "__notes__", [])
    if isinstance(error, ArgumentError):
        what, clear = of_argument(error), True
    elif isinstance(error, OSError) and error.strerror and error.filename is not None:
        what, clear = f"{error.filename}: {error.strerror}", True
    elif type(error) in (FileNotFoundError, FileExistsError, ImportError, ModuleNotFoundError):
        what, clear = str(error), True
    else:
        # `Unsupported` is a ValueError that says itself what to do.
        clear = isinstance(error, ValueError)
        what = str(error) if clear else f"{type(error).__name__}: {_shortened(error)}"
    if not what.strip():
        what, clear = type(error).__name__, False
    noted = f" ({'; '.join(notes)})" if notes else ""
    see = "; --traceback shows where" if hint and not (clear and not notes) else ""
    return f"{what}{noted}{see}"


def _shortened(error: BaseException) -> str:
    from ppvae.engine import first_line  # a wrong word on the command line needs no torch

    cause = first_line(error)
    return cause + (" ..." if len(str(error).strip()) > len(cause) else "")


def of_argument(error: ArgumentError) -> str:
    """Name the option and say what is wrong with it.

    Of an error of jsonargparse, the first cause says what is wrong. Which option it was stands
    only at the start of the messages of the others, as `Parser key "NAME":`.
    """
    name = (error.argument_name or "").rpartition("/")[2]
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    keys = [str(e).split('"')[1] for e in causes if str(e).startswith('Parser key "')]
    name = name or (f"--{'.'.join(dict.fromkeys(keys))}" if keys else "")
    first = causes[-1]
    what = error.message if first is error else str(first)
    for theirs, ours in _PLAIN:
        what = what.replace(theirs, ours)
    return f"{name}: {what}" if name else what
