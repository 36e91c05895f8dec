"""Exact tests of ranks that should be uniform, and the bands that go with them."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_POINTS = 100  # the largest number of points at which the distribution function is evaluated
_SMALLEST = 1e-9  # below it p-values are upper bounds: 1 - P would only be rounding error


def uniform_p_values(ranks: NDArray[np.int64], draws: int) -> Numbers:
    """Test for each column whether its ranks are uniform on 0, ..., draws.

    The distribution function of the N ranks is evaluated at up to 100 points z_i. At each of them
    the number of ranks below is binomial (N, z_i); the statistic is the smallest of its two-sided
    tail probabilities,

        gamma = min_i  2 min{ P(Bin(N, z_i) <= n_i), P(Bin(N, z_i) >= n_i) },

    and the p-value is P(a smaller or equal gamma). It is exact, by a recursion over the points,
    along which the numbers of ranks below are a Markov chain. At p the ranks just leave the
    simultaneous band of level 1 - p (Säilynoja, Bürkner and Vehtari, "Graphical test for discrete
    uniformity and its applications in goodness-of-fit evaluation and multiple sample comparison",
    2022). Below 1e-9 the p-value is an upper bound, gamma times the number of points.

    Args:
        ranks: whole numbers `(N, quantities)`; -1 marks a missing rank.
        draws: the largest rank.

    Returns:
        A p-value for each column, `(quantities,)`; 1 for one without ranks.

    Example:
        >>> ranks = np.stack([np.arange(100), np.arange(100) // 2], axis=1)
        >>> uniform_p_values(ranks, draws=99) < 0.01
        array([False,  True])
    """
    cuts, points = _cuts(draws)
    present = (ranks >= 0).sum(0)
    p_values = np.ones(ranks.shape[1])
    for count in np.unique(present[present > 0]):
        columns = np.flatnonzero(present == count)
        tails = _tails(int(count), points)
        places = ranks[:, columns] + 1 + (draws + 2) * np.arange(len(columns))
        numbers = np.bincount(places.reshape(-1), minlength=(draws + 2) * len(columns))
        numbers = numbers.reshape(len(columns), draws + 2)[:, 1:]  # without the missing ranks
        below = numbers.cumsum(1).T[cuts - 1]
        gamma = tails[np.arange(len(cuts))[:, None], below].min(0)
        p_values[columns] = _p_values(tails, points, gamma)
    return p_values


def uniform_band(count: int, draws: int, probability: float = 0.99) -> xr.Dataset:
    """Return the band that holds the distribution function of uniform ranks with a probability.

    It belongs to the test `uniform_p_values`: ranks leave the band exactly if their p-value is at
    most 1 - probability.

    Args:
        count: number of ranks.
        draws: the largest rank.
        probability: that the whole function stays inside; at least this, because ranks are
            discrete.

    Returns:
        `lower` and `upper`, inclusive, as shares of the ranks below `cut`, and the `expected`
        share; dims `(cut,)`.

    Raises:
        ValueError: if the probability is not between 0 and 1.

    Example:
        >>> band = uniform_band(1000, draws=99, probability=0.95).sel(cut=50)
        >>> tuple(round(float(band[name]), 3) for name in ("lower", "expected", "upper"))
        (0.453, 0.5, 0.547)
    """
    if not 0 < probability < 1:
        raise ValueError(f"probability must be between 0 and 1, got {probability}")
    cuts, points = _cuts(draws)
    tails = _tails(count, points)
    alpha = 1 - probability
    low, high = np.log(alpha / len(cuts)), 0.0
    while high - low > 1e-7:
        grid = np.linspace(low, high, 32)
        inside = _p_values(tails, points, np.exp(grid)) <= alpha
        last = max(0, int(np.flatnonzero(inside).max(initial=0)))
        low, high = grid[last], grid[min(last + 1, 31)]
    kept = tails > np.exp(low) * (1 + 1e-9)
    return xr.Dataset(
        {
            "lower": ("cut", kept.argmax(1) / count),
            "expected": ("cut", points),
            "upper": ("cut", 1 - kept[:, ::-1].argmax(1) / count),
        },
        coords={"cut": cuts},
        attrs={"probability": probability, "draws": draws, "count": count},
    )


def binomial_p_values(hits: NDArray[np.int64], count: int, probabilities: Numbers) -> Numbers:
    """Return exact two-sided p-values of binomial counts: twice the smaller tail, at most 1.

    Args:
        hits: numbers of hits, `(probabilities, quantities)`.
        count: number of trials.
        probabilities: of a hit under the null hypothesis, `(probabilities,)`.

    Example:
        >>> binomial_p_values(np.array([[10, 5]]), 10, np.array([0.5])).round(4)
        array([[0.002, 1.   ]])
    """
    rows = np.arange(len(probabilities))[:, None]
    p_values: Numbers = _tails(count, probabilities)[rows, hits]
    return p_values


def _cuts(draws: int) -> tuple[NDArray[np.int64], Numbers]:
    """Return the cuts at which the distribution function is evaluated, and P(rank < cut)."""
    pieces = min(draws + 1, _POINTS)
    cuts = np.round(np.linspace(0, draws + 1, pieces + 1)[1:-1]).astype(np.int64)
    return cuts, cuts / (draws + 1)


def _tails(count: int, points: Numbers) -> Numbers:
    """Return 2 min{P(Bin(count, z) <= n), P(Bin(count, z) >= n)}, at most 1: `(points, n)`."""
    # Imported here: scipy.stats takes long to import, and most programs do not need it.
    from scipy.stats import binom

    masses = binom.pmf(np.arange(count + 1), count, points[:, None])
    below, above = masses.cumsum(1), masses[:, ::-1].cumsum(1)[:, ::-1]
    tails: Numbers = np.minimum(2 * np.minimum(below, above), 1)
    return tails


def _p_values(tails: Numbers, points: Numbers, gamma: Numbers) -> Numbers:
    """Return P(the smallest tail over all points <= gamma) for each gamma."""
    # Imported here: scipy takes long to import, and most programs do not need it.
    from scipy.special import gammaln

    bounds = np.minimum(gamma * len(points), 1)
    exact = bounds >= _SMALLEST
    if not exact.any():
        return bounds
    # Equal tails on the two sides of the middle may differ in their last digits.
    limits = gamma[exact] * (1 + 1e-9)
    count = tails.shape[1] - 1
    factorials = gammaln(np.arange(1.0, count + 2))
    numbers, masses, before = np.zeros(1, dtype=np.int64), np.ones((len(limits), 1)), 0.0
    for tail, point in zip(tails, points, strict=True):
        step = (point - before) / (1 - before)
        kept = np.flatnonzero(tail > limits.min())
        new = kept[None] - numbers[:, None]
        possible = new >= 0
        new = np.maximum(new, 0)
        left = (count - numbers)[:, None]
        logs = factorials[left] - factorials[new] - factorials[np.maximum(left - new, 0)]
        logs = logs + new * np.log(step) + (left - new) * np.log1p(-step)
        moves = np.where(possible, np.exp(logs), 0.0)
        masses = (masses @ moves) * (tail[kept] > limits[:, None])
        numbers, before = kept, point
    results = bounds.copy()
    results[exact] = np.clip(1 - masses.sum(1), 0, bounds[exact])
    return results
