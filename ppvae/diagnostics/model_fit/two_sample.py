"""Whether samples of a model can be told from held-out data."""

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from ppvae.diagnostics.model_fit.replicates import observations, replicate
from ppvae.diagnostics.progress import tqdm_options
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import Data, Pair, as_batch, isolated, seeds, structure_of

_MEMORY = 256 * 2**20

Values = NDArray[np.float64]


def mmd(
    pair: Pair,
    data: Data,
    *,
    permutations: int = 1000,
    bandwidth: float | None = None,
    seed: int = 0,
    memory: int = _MEMORY,
) -> xr.Dataset:
    """Measure the maximum mean discrepancy between held-out data and as many samples, and test it.

        MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = exp(-|x - y|^2 / (2 h^2))

    estimated without bias (Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A Kernel Two-Sample
    Test", 2012, equation 4). One sample is drawn from p(x) for every datapoint, given what the
    model conditions on. Under a right model each pair of the two can be swapped; p is the rank of
    MMD^2 among random swaps, exactly uniform for data that the fit has not seen.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`, at least 2 datapoints; of a dataset, the test split.
        permutations: number of random swaps.
        bandwidth: h in the data's units; the median distance within both together, unless given.
        seed: of the draws.
        memory: bound in bytes; the kernel takes 64 for each pair of datapoints.

    Returns:
        `mmd_squared`, negative now and then, `p_value` and `bandwidth`, scalars.

    Raises:
        ValueError: with fewer than 2 datapoints or more than memory allows, or where all distances
            are 0, or the pair cannot be drawn from or is a pseudo-likelihood.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> test = mmd(pairs.assemble(digits, latent=2), digits.test[:50])
        >>> bool(test.p_value < 0.01)
        True
    """
    x, y = _samples(pair, data, seed, memory)
    rows = len(x)
    if rows < 2 or 64 * rows**2 > memory:
        raise ValueError(
            f"mmd needs 2 to {math.isqrt(memory // 64)} datapoints within memory={memory}; got "
            f"{rows}"
        )
    both = torch.as_tensor(np.concatenate([x, y]))
    distances = torch.cdist(both, both, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    if bandwidth is None:
        bandwidth = float(np.median(distances[np.triu_indices(2 * rows, 1)]))
    if not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}; pass another")
    kernel = np.exp(-np.square(distances / bandwidth) / 2)
    # Swapping x_i and y_i turns the sign of row and column i of this matrix.
    cross = kernel[:rows, rows:]
    terms = kernel[:rows, :rows] + kernel[rows:, rows:] - cross - cross.T
    np.fill_diagonal(terms, 0)
    generator = np.random.default_rng(seed)
    signs = np.concatenate(
        [np.ones((1, rows)), generator.choice([-1.0, 1.0], size=(permutations, rows))]
    )
    squares = ((signs @ terms) * signs).sum(1) / (rows * (rows - 1))
    return xr.Dataset(
        {
            "mmd_squared": squares[0],
            "p_value": upper_p_value(squares[0], squares[1:], generator),
            "bandwidth": bandwidth,
        },
        attrs={"permutations": permutations, "data": rows},
    )


def classifier_two_sample(
    pair: Pair,
    data: Data,
    *,
    classifier: Any = None,
    folds: int = 5,
    permutations: int = 100,
    seed: int = 0,
    memory: int = _MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Train a classifier to tell held-out data from samples of the model.

    Its cross-validated accuracy is 1/2 where the model is right, 1 where they share nothing
    (Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017). One sample is drawn from
    p(x) for every datapoint, given what the model conditions on, and both fall into one fold.
    Under a right model each two can be swapped; p is the rank of the accuracy among those after
    random swaps, each with classifiers of its own: exactly uniform for data that the fit has not
    seen, which a binomial p-value of cross-validated accuracy is not.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        classifier: a scikit-learn classifier of rows of numbers; logistic regression on
            standardized features and their squares and products, unless given. With many
            features pass another: those grow with the square of their number.
        folds: of the cross-validation, at least 2.
        permutations: number of random swaps; each trains `folds` classifiers.
        seed: of the draws, folds and swaps.
        memory: bound in bytes on the intermediate tensors of the draws.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        `accuracy` and `p_value`, scalars.

    Raises:
        ValueError: with fewer datapoints than folds, or if the pair cannot be drawn from or is a
            pseudo-likelihood.

    Example:
        >>> from sklearn.neighbors import NearestCentroid
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> test = classifier_two_sample(
        ...     pairs.assemble(digits, latent=2),
        ...     digits.test[:30],
        ...     classifier=NearestCentroid(),
        ...     permutations=20,
        ... )
        >>> bool(test.accuracy > 0.9)
        True
    """
    x, y = _samples(pair, data, seed, memory)
    rows = len(x)
    if not 2 <= folds <= rows:
        raise ValueError(f"folds must be between 2 and the {rows} datapoints, got {folds}")
    if classifier is None:
        classifier = _quadratic()
    generator = np.random.default_rng(seed)
    fold = generator.permutation(rows) % folds
    # First the data as they are, then swapped.
    swaps = generator.random((1 + permutations, rows, 1)) < 0.5
    swaps[0] = False
    accuracies = np.array(
        [
            _accuracy(classifier, np.where(swap, y, x), np.where(swap, x, y), fold)
            for swap in tqdm(swaps, **tqdm_options(progress))
        ]
    )
    return xr.Dataset(
        {
            "accuracy": accuracies[0],
            "p_value": upper_p_value(accuracies[0], accuracies[1:], generator),
        },
        attrs={"permutations": permutations, "folds": folds, "data": rows},
    )


def _quadratic() -> Any:
    """Return a logistic regression on the features and their products."""
    # Imported here, for it takes a second, and memory, that most programs have no need of.
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    return make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )


def _accuracy(classifier: Any, x: Values, y: Values, fold: NDArray[Any]) -> float:
    from sklearn.base import clone

    hits = 0
    for index in range(fold.max() + 1):
        left_out = fold == index
        train = np.concatenate([x[~left_out], y[~left_out]])
        test = np.concatenate([x[left_out], y[left_out]])
        labels = np.repeat([0, 1], len(train) // 2)
        found = clone(classifier).fit(train, labels).predict(test)
        hits += int((found == np.repeat([0, 1], len(test) // 2)).sum())
    return hits / (2 * len(x))


def _samples(pair: Pair, data: Data, seed: int, memory: int) -> tuple[Values, Values]:
    """Return the data and one sample of p(x) for each datapoint, a row of numbers each."""
    batch = as_batch(data, pair, split="test")
    with isolated(pair, seed):
        for name, reason in structure_of(pair, batch).unnormalized.items():
            raise ValueError(
                f"samples of observed site {name!r} are not such as its data: {reason}; use a "
                "normalized likelihood"
            )
        values, _ = observations(pair, batch)
        (drawn,) = replicate(pair, batch, 1, memory, seeds(seed))

    def rows(parts: list[torch.Tensor]) -> Values:
        flat = [part.reshape(len(batch[0]), -1).double() for part in parts]
        array: Values = torch.cat(flat, 1).cpu().numpy()
        return array

    return rows(list(values.values())), rows([drawn.simulated[name][0] for name in values])
