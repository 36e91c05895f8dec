"""Can samples of a model be told from held-out data by their nearest neighbors?"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae.diagnostics.model_fit.two_sample import Values, data_and_samples
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import MEMORY, Data, Pair, Unsupported, seeded

_FOLDS = 2
_VOTES = 2**23  # that are counted at once


def nearest_neighbor_two_sample(
    pair: Pair,
    data: Data,
    *,
    neighbors: int = 10,
    permutations: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
) -> xr.Dataset:
    """Tell held-out data from samples of the model by a vote of nearest neighbors, and test it.

    It is `classifier_two_sample` with two folds and scikit-learn's `KNeighborsClassifier`. Swaps
    of a datapoint and its sample move no point, so that the neighbors are found once for all
    permutations (Schilling, "Multivariate Two-Sample Tests Based on Nearest Neighbors", 1986).

    Args:
        pair: any pair.
        data: `(data, *event)`, not used in the fit; of a dataset, the test split.
        neighbors: number of neighbors that vote.
        permutations: number of random swaps.
        seed: of the draws, folds and swaps.
        memory: bound in bytes on the intermediate tensors of the draws.

    Returns:
        `accuracy`, 1/2 if the model is right, and `p_value`, scalars.

    Raises:
        Unsupported: with fewer than `2 * neighbors` datapoints, or if the pair cannot be drawn
            from or is a pseudo-likelihood.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> bool(nearest_neighbor_two_sample(pair, digits.test[:50]).p_value < 0.01)
        True
    """
    # Imported here: scikit-learn takes a second to import, and most programs do not need it.
    with seeded(0):  # importing scikit-learn draws random numbers
        from sklearn.neighbors import NearestNeighbors

    x, y = data_and_samples(pair, data, seed, memory)
    rows = len(x)
    if rows < 2 * neighbors:
        raise Unsupported(
            f"samples are told from data with at least {2 * neighbors} datapoints, got {rows}"
        )
    generator = np.random.default_rng(seed)
    fold = np.tile(generator.permutation(rows) % _FOLDS, 2)
    points, nearest = np.concatenate([x, y]), np.empty((2 * rows, neighbors), dtype=np.int64)
    for index in range(_FOLDS):
        out, others = np.flatnonzero(fold == index), np.flatnonzero(fold != index)
        index_of = NearestNeighbors(n_neighbors=neighbors).fit(points[others])
        nearest[out] = others[index_of.kneighbors(points[out], return_distance=False)]
    swaps = generator.random((1 + permutations, rows)) < 0.5
    swaps[0] = False  # the first is without swaps
    accuracies = _accuracies(nearest, np.concatenate([swaps, ~swaps], axis=1))
    return xr.Dataset(
        {
            "accuracy": accuracies[0],
            "p_value": upper_p_value(accuracies[0], accuracies[1:], generator),
        },
        attrs={"permutations": permutations, "folds": _FOLDS, "data": rows},
    )


def _accuracies(nearest: NDArray[np.int64], labels: NDArray[np.bool_]) -> Values:
    """Return the share of points that most of their neighbors have the label of.

    Args:
        nearest: the neighbors of each point, `(points, neighbors)`.
        labels: of the points, `(permutations, points)`.
    """
    at_once = max(1, _VOTES // nearest.size)
    shares = []
    for start in range(0, len(labels), at_once):
        part = labels[start : start + at_once]
        voted = 2 * part[:, nearest].sum(2) > nearest.shape[1]
        shares.append((voted == part).mean(1))
    return np.concatenate(shares)
