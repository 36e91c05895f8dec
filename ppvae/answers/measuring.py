"""Runs of a pair on the rows that it can be run on; what becomes of the others."""

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from ppvae.answers.rows import Rows
from ppvae.engine import Batch, Pair, adapted, on_sound_rows

_NAMED = 10  # rows in a warning

Result = TypeVar("Result", bound=dict[str, Any])


def by_row(pair: Pair, rows: Rows, measure: Callable[[Pair, Batch], Result]) -> Result:
    """Measure rows; those that the pair fails on are NaN, and a warning names them.

    Args:
        pair: any pair.
        rows: the rows.
        measure: is called with the pair as the engine takes it, and with rows that it can be run
            on; returns arrays `(data, *)` of floating values by name.

    Raises:
        Exception: what `measure` raises, if the pair fails on all rows.
    """
    own, batch = adapted(pair, rows.batch, split="test", in_chunks=True)
    measured, kept, failure = on_sound_rows(own, batch, lambda part: measure(own, part))
    if failure is None:
        return measured
    lost = np.setdiff1d(np.arange(len(rows)), kept.numpy())
    names = [rows.names[row] if rows.names else str(rows.numbers[row]) for row in lost[:_NAMED]]
    shown = ", ".join(names) + (", ..." if len(lost) > _NAMED else "")
    warnings.warn(
        f"{len(lost)} of {len(rows)} rows could not be measured, row {shown}: {failure}",
        stacklevel=3,
    )
    for name, values in measured.items():
        whole = np.full((len(rows), *values.shape[1:]), np.nan)
        whole[kept.numpy()] = values
        measured[name] = whole
    return measured


def on_cpu(tensor: torch.Tensor) -> Any:
    """Return a tensor as an array of double precision."""
    return tensor.detach().cpu().double().numpy()
