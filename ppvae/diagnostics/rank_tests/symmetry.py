"""An exact test of symmetry."""

import numpy as np
from numpy.typing import NDArray


def symmetry_p_values(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Test for each column whether its values are distributed symmetrically about 0.

    From the largest absolute value to the smallest, let S_k be the sum of the first k signs. It
    is N times the difference between the distribution functions of the values and of their
    negatives, and under symmetry a random walk of N fair steps, whatever the absolute values.
    With m = max_k |S_k|, by reflection,

        p = P(max_k |S_k| >= m) = 2 sum_j (-1)^j [P(S_N >= (2j+1) m) + P(S_N > (2j+1) m)]

    exactly (Butler, "A test for symmetry using the sample distribution function", 1969). The
    maximum is taken over the k where the absolute value changes, so that ties make the p-value
    larger. Zeros are left out.

    Args:
        values: whole numbers `(N, quantities)`.

    Returns:
        A p-value for each column, `(quantities,)`.

    Example:
        >>> symmetry_p_values(np.array([[-3, 1], [2, 2], [-1, 3], [4, 4]]))
        array([1.   , 0.125])
    """
    return np.array([_p_value(column) for column in values.T])


def _p_value(values: NDArray[np.int64]) -> float:
    values = values[values != 0]
    if not len(values):
        return 1.0
    values = values[np.argsort(-np.abs(values), kind="stable")]
    walk = np.sign(values).cumsum()
    last = np.append(np.diff(np.abs(values)) != 0, True)
    furthest = int(np.abs(walk[last]).max())
    return reach_probability(len(values), furthest)


def reach_probability(steps: int, distance: int) -> float:
    """Return the probability that a random walk of fair steps of length 1 reaches +-`distance`.

    Example:
        >>> reach_probability(2, 2)
        0.5
    """
    # Imported here: scipy.stats takes long to import, and most programs do not need it.
    from scipy.stats import binom

    if distance == 0:
        return 1.0
    levels = np.arange(distance, steps + 1, 2 * distance)
    # The walk ends at 2 up - steps, where up of the steps lead up.
    reached = binom.sf((levels + steps + 1) // 2 - 1, steps, 0.5)  # P(end >= level)
    passed = binom.sf((levels + steps) // 2, steps, 0.5)  # P(end > level)
    signs = np.where(np.arange(len(levels)) % 2, -1.0, 1.0)
    return float(np.clip(2 * (signs * (reached + passed)).sum(), 0, 1))
