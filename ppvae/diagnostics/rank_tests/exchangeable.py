"""The rank of one number among exchangeable others, as a p-value."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def upper_p_value(
    value: NDArray[Any], others: NDArray[Any], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the randomized p-value of how large `value` is among `others`.

        (#{others > value} + U (1 + #{others = value})) / (1 + S),    U uniform on (0, 1)

    If the value and the S others are exchangeable, it is uniform on (0, 1) whatever the
    distribution, ties included (Phipson and Smyth, "Permutation P-values Should Never Be Zero",
    2010, without the ties; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World",
    2005, smoothed).

    Args:
        value: `(*)`.
        others: `(S, *)`.
        generator: of U.

    Raises:
        ValueError: if a number is NaN, which has no rank.

    Example:
        >>> p = upper_p_value(np.array(9.5), np.arange(10.0), np.random.default_rng(0))
        >>> bool(p < 1 / 11)
        True
    """
    if np.isnan(value).any() or np.isnan(others).any():
        raise ValueError("a statistic is NaN, which has no rank; return numbers")
    above = (others > value).sum(0)
    ties = 1 + (others == value).sum(0)
    ranks: NDArray[np.float64] = (above + generator.uniform(size=value.shape) * ties) / (
        1 + len(others)
    )
    return ranks


def highest_p_value(value: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return the p-value of how large `value` is among `others`, without a random part.

        (1 + #{others >= value}) / (1 + S)

    If the value and the S others are exchangeable, it is at most p with a probability of at most
    p, and equal to it without ties and for p = k / (1 + S). It is 1 / (1 + S) at least (Phipson
    and Smyth, "Permutation P-values Should Never Be Zero", 2010).

    Args:
        value: `(*)`.
        others: `(S, *)`.

    Example:
        >>> float(highest_p_value(np.array(9.5), np.arange(9.0)))
        0.1
    """
    p_values: NDArray[np.float64] = np.asarray((1 + (others >= value).sum(0)) / (1 + len(others)))
    return p_values
