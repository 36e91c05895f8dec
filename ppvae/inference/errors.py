"""How a training reports an exception of its parts: why, at which step and on which data."""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from ppvae.engine import Unsupported, first_line, noted
from ppvae.inference.failure import ADVICE, explain
from ppvae.inference.state import Training
from ppvae.inference.steps import Minibatch

P = ParamSpec("P")
T = TypeVar("T")


class NotFinite(Exception):
    """A loss or gradient is NaN or infinite; the message says at which site and why."""


def run_explained(
    training: Training,
    batch: Minibatch,
    place: str,
    compute: Callable[P, T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return `compute(*args, **kwargs)`, which runs the trained pair on `batch`.

    Where it raises, parameters that are not finite are replaced by the last finite ones.

    Args:
        training: the training under way.
        batch: the data of the computation.
        place: when it takes place, such as "at step 3", for notes.
        compute: what to call.
        *args: its arguments.
        **kwargs: its keyword arguments.

    Raises:
        NotFinite: from the exception, if the computation failed numerically.
        ValueError: if data lie outside the support of their likelihood.
        Exception: any other that `compute` raised, with a note of place and shape of the data.
    """
    try:
        return compute(*args, **kwargs)
    except Exception as error:
        raised = error
    # Outside of the block, so that the pair's own exception does not get Pyro's as its context.
    failure = _failure(training, batch, place, raised)
    try:
        raise failure
    finally:
        del raised, failure  # else they and this frame hold each other, and all tensors they see


def raised_by_program(error: Exception) -> Exception:
    """Return the exception that a model or guide raised, if `error` is Pyro's copy of it.

    Where a traced program raises a ValueError or RuntimeError, Pyro raises a new exception of the
    same type, with a table of all shapes added to the message. A type that is not made of one
    message makes this a TypeError.
    """
    original = error.__cause__ or error.__context__
    if not isinstance(original, ValueError | RuntimeError):
        return error
    added = str(error).removeprefix(f"{original}\n")
    if type(error) is type(original) and added.lstrip().startswith("Trace Shapes:"):
        return raised_by_program(original.with_traceback(error.__traceback__))
    if isinstance(error, TypeError) and _raised_in(error) == "pyro.poutine.trace_messenger":
        return raised_by_program(original)
    return error


def _raised_in(error: Exception) -> str | None:
    """Return the name of the module that raised an error."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return None if traceback is None else traceback.tb_frame.f_globals.get("__name__")


def _failure(training: Training, batch: Minibatch, place: str, raised: Exception) -> Exception:
    """Return what to raise instead of an exception."""
    broken = not training.finite()
    training.restore_finite()  # weights after a non-finite gradient do not show its cause
    error = raised_by_program(raised)
    note = f"{place}, on data of shape {(batch.rows, *batch.whole[0].shape[1:])}"
    numeric = isinstance(error, ArithmeticError | ValueError | RuntimeError)
    if numeric and not isinstance(error, torch.OutOfMemoryError):
        try:
            with noted(note):
                cause = explain(batch.pair(training.pair), batch.tensors, error)
        except ValueError as refusal:
            return refusal
        if cause is None and broken:
            cause = f"the last step made parameters NaN or infinite. {ADVICE}"
        if cause is not None:
            failure = NotFinite(cause)
            failure.__cause__ = error
            return failure
    error = _with_cause_first(error)
    if not isinstance(error, Unsupported):
        error.add_note(note)
    return error


def _with_cause_first(error: Exception) -> Exception:
    r"""Return an error that names the cause first, where Pyro's own has a table of shapes.

    Example:
        >>> _with_cause_first(ValueError("Error while computing log_prob at site 'x':\n3 vs 4"))
        ValueError("at site 'x': 3 vs 4")
    """
    if type(error) is not ValueError or not str(error).startswith("Error while "):
        return error
    named = ValueError(first_line(error))
    named.__cause__ = error
    return named
