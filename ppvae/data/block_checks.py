"""Checks of values as they are read from disk, a block at a time."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.distributions import constraints


def first_bad_row(
    values: NDArray[Any], support: constraints.Constraint | None
) -> tuple[int, float] | None:
    """Return the first row that holds NaN, infinity or what is outside a support, and the value.

    Args:
        values: `(rows, *event)`.
        support: of a feature, or `constraints.cat` of those of all; none to look for NaN and
            infinity alone.

    Example:
        >>> first_bad_row(np.array([[0.0], [np.nan]]), None)
        (1, nan)
        >>> first_bad_row(np.array([[0], [1], [2]]), constraints.boolean)
        (2, 2.0)
    """
    if not values.size:
        return None
    # NaN is the lowest and the highest value where there is one.
    low, high = float(values.min()), float(values.max())
    finite = math.isfinite(low) and math.isfinite(high)
    if finite:
        if support is None or support is constraints.real or _between(values, low, high, support):
            return None
        flat = torch.from_numpy(values.reshape(len(values), -1).astype(np.float64))
        good = support.check(flat).numpy()
    else:
        good = np.isfinite(values).reshape(len(values), -1)
    if good.all():
        return None
    row, column = np.unravel_index(int(good.argmin()), good.shape)
    return int(row), float(values.reshape(len(values), -1)[row, column])


def _between(
    values: NDArray[Any], low: float, high: float, support: constraints.Constraint
) -> bool:
    """Tell whether lowest and highest value show that all are in a support.

    They do where it is an interval of real or of whole numbers.
    """
    if isinstance(support, constraints.cat):
        return False
    if not bool(support.check(torch.tensor([low, high], dtype=torch.float64)).all()):
        return False
    if not support.is_discrete or values.dtype.kind in "biu":
        return True
    return bool((values == np.floor(values)).all())
