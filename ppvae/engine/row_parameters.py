"""Parameters that have a row for each datapoint, where the data have fewer rows."""

import re
from collections.abc import Iterator
from typing import Any

import pyro.poutine as poutine
from torch import Tensor, nn


def other_rows(
    program: Any, trace: poutine.Trace, batch: tuple[Any, ...], error: Exception
) -> str | None:
    """Say that a parameter has more rows than the data, if an error names both numbers.

    Args:
        program: the model or the guide.
        trace: what it reached before the error.
        batch: what it was called with.
        error: what it raised.
    """
    first = next((value for value in batch if isinstance(value, Tensor) and value.dim()), None)
    text = str(error)
    if first is None or "mat1 and mat2" in text:  # the columns of a network's weights
        return None
    rows, named = len(first), set(map(int, re.findall(r"\d+", text)))
    for name, value in _parameters(program, trace):
        count = len(value) if value.dim() else 0
        if count > rows and {rows, count} <= named:
            return (
                f"parameter {name!r} has {count} rows and the data have {rows}; if it has one for "
                f"each datapoint, pass all {count} together, to `fit` with batch_size={count}"
            )
    return None


def _parameters(program: Any, trace: poutine.Trace) -> Iterator[tuple[str, Tensor]]:
    for name, site in trace.nodes.items():
        if site["type"] == "param":
            yield name, site["value"]
    owner = getattr(program, "__self__", program)
    if isinstance(owner, nn.Module):
        yield from owner.named_parameters()
