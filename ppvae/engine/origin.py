"""Whose code raised an exception: the user's pair's, or ours."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from ppvae.engine.densities import density_at
from ppvae.engine.tracing import traced

_OURS = __name__.partition(".")[0]
_LIBRARIES = frozenset(
    ("torch", "pyro", "numpy", "scipy", "sklearn", "xarray", "arviz", "pandas", "tqdm")
) | set(sys.stdlib_module_names)
"""What both call: an exception that came up in there is whose code called it."""

_CALLS = (traced.__code__, density_at.__code__)
"""Where a pair's programs are run, and its sites' distributions scored."""


def raised_in_pair(error: BaseException) -> str | None:
    """Return the place where the code of a user's pair raised an error; None if it was ours.

    The innermost frame of the traceback that is of no library decides. One of `ppvae` is ours,
    unless it runs a pair's program, or scores a site of it, and all further in is a library's, as
    with an automatic guide or a flow. Any other frame is the user's if a pair's program, a library
    or an object of the user's called it; what our code calls directly otherwise is taken as ours.

    Args:
        error: with the traceback of where it was raised.

    Returns:
        "file:line" of the user's innermost frame, or of the library's if there is none.
    """
    steps = list(traceback.walk_tb(error.__traceback__))
    frames = [frame for frame, _ in steps]
    deciding = next((i for i in reversed(range(len(frames))) if not _of_library(frames[i])), None)
    if deciding is None:
        return None
    if _package(frames[deciding]) == _OURS:
        called = frames[deciding].f_code in _CALLS and deciding + 1 < len(frames)
        return _place(steps[-1]) if called else None
    if not _called_by_pair(frames[: deciding + 1]):
        return None
    users = [step for step in steps if not _of_library(step[0]) and _package(step[0]) != _OURS]
    own = [step for step in users if not _installed(step[0])]
    return _place((own or users)[-1])


def _called_by_pair(frames: Sequence[FrameType]) -> bool:
    """Tell whether the last frames, which are the user's, were called by more than our code."""
    if any(frame.f_code in _CALLS for frame in frames):
        return True
    caller = len(frames) - 1
    while caller >= 0 and _package(frames[caller]) != _OURS:
        caller -= 1
    first = frames[caller + 1]
    return caller >= 0 and (_of_library(first) or "self" in first.f_locals)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _of_library(frame: FrameType) -> bool:
    return _package(frame) in _LIBRARIES


def _installed(frame: FrameType) -> bool:
    return "site-packages" in Path(frame.f_code.co_filename).parts


def _place(step: tuple[FrameType, int]) -> str:
    """Return file and line of a step; the file of an installed package from its name on."""
    path = Path(step[0].f_code.co_filename)
    if _installed(step[0]):
        last = len(path.parts) - path.parts[::-1].index("site-packages")
        path = Path(*path.parts[last:])
    return f"{path}:{step[1]}"
