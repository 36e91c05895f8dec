"""The arguments of a program as tensors of rows."""

import inspect
from typing import Any, TypeAlias

from torch import nn

from ppvae.engine.adaptation.adapted import Adapted
from ppvae.engine.adaptation.forms import Form, moved_to, taken_apart
from ppvae.engine.batches import Batch, as_tensor, checked, reference, refuse_unless_taken
from ppvae.engine.execution import run_once
from ppvae.engine.isolation import isolated
from ppvae.engine.modules import unfinished

_ROWS = 128  # on which it is tried whether a pair takes whole numbers
Arguments: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of a program by position and by name."""


def batch_of(
    pair: Any,
    arguments: Arguments,
    *,
    rows: int | None = None,
    real: bool | None = None,
    argument: str = "data",
) -> tuple[Batch, Form]:
    """Return the tensors of rows, on the pair's device and in its dtype, and their form.

    Args:
        pair: the pair, whose attribute `data_dim` may name the dimension of rows.
        arguments: of its programs.
        rows: number of rows; that of the first tensor unless given.
        real: whether datapoints that are whole numbers become floating values, as networks take
            them; unless given, they do if the pair runs on them so, or does not run on either.
        argument: what to call the data in an error.

    Raises:
        TypeError: if a part is no tensor, array, packed sequence, number or None, or the pair's
            programs do not take these arguments.
        ValueError: if there are no rows, or a value is NaN, infinite or masked.
    """
    by_position, by_name = arguments
    dim = getattr(pair, "data_dim", 0)
    tensors, form = taken_apart(by_position, by_name, dim=dim, rows=rows, argument=argument)
    if not tensors:
        if not (by_position or by_name):
            raise ValueError(f"{argument} is an empty tuple; expected at least one tensor")
        for part in by_position:
            as_tensor(part, argument)
        raise ValueError(
            f"{argument} holds no tensor with a dimension {dim} of rows; expected at least one "
            "datapoint there"
        )
    if not form.plain:
        _check_taken(pair, arguments, argument)
        form = moved_to(form, reference(pair))

    def batch(real: bool) -> Batch:
        return checked(tuple(tensors), pair, argument=argument, count=form.plain, real=real)

    if real is not None or tensors[0].is_floating_point():
        return batch(real is not False), form
    found = batch(True)
    if found[0].is_floating_point() and not _runs(pair, form, found):
        whole = batch(False)
        found = whole if _runs(pair, form, whole) else found
    return found, form


def runs_on(pair: Any, arguments: Arguments) -> bool:
    """Tell whether a pair runs on arguments, of which some rows are tried."""
    try:
        batch, form = batch_of(pair, arguments)
    except (TypeError, ValueError):
        return False
    return _runs(pair, form, batch)


def _runs(pair: Any, form: Form, batch: Batch) -> bool:
    """Tell whether a pair runs on some rows, or on all if it makes its parameters on them."""
    rows = batch if unfinished(pair) else tuple(part[:_ROWS] for part in batch)
    try:
        with isolated(pair, 0):
            run_once(Adapted(pair, form), rows)
    except Exception:
        return False
    return True


def _check_taken(pair: Any, arguments: Arguments, argument: str) -> None:
    """Refuse arguments that a pair's model or guide does not take."""
    for name in ("model", "guide"):
        program = getattr(pair, name, None)
        if program is None:
            continue
        if not arguments[1]:
            refuse_unless_taken(program, len(arguments[0]), f"the pair's {name}", argument)
            continue
        if isinstance(program, nn.Module):
            program = program.forward
        try:
            signature = inspect.signature(program)
        except (TypeError, ValueError):  # a built-in function has none
            continue
        try:
            signature.bind(*arguments[0], **arguments[1])
        except TypeError as error:
            raise TypeError(
                f"{argument} does not fit the pair's {name}{signature}: {error}"
            ) from None
