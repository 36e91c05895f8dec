"""Can samples of a model be told from held-out data?"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ppvae.diagnostics.failed_rows import of_the_others
from ppvae.diagnostics.model_fit.replicates import observations, replicate
from ppvae.diagnostics.names import names_of
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Unsupported,
    adapted,
    isolated,
    progress_bar,
    seeded,
    seeds,
    structure_of,
)

_BYTES = 16  # of the distances, for each pair of datapoints
_BLOCK = 2**18  # distances that are turned into kernel values at once

Values = NDArray[np.float64]


def mmd(
    pair: Pair,
    data: Data,
    *,
    permutations: int = 1000,
    bandwidth: float | None = None,
    seed: int = 0,
    memory: int = MEMORY,
) -> xr.Dataset:
    """Measure the maximum mean discrepancy between held-out data and as many samples, and test it.

        MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = exp(-|x - y|^2 / (2 h^2))

    estimated without bias (Gretton, Borgwardt, Rasch, Schölkopf and Smola, "A Kernel Two-Sample
    Test", 2012, equation 4). One sample is drawn from p(x) for every datapoint, given what the
    model conditions on. Under the right model a datapoint and its sample can be swapped; p is the
    rank of MMD^2 among random swaps, exactly uniform for data not used in the fit. Where a
    mask hides a feature, the feature's mean stands in both.

    Args:
        pair: any pair.
        data: `(data, *event)`, at least 2 datapoints; of a dataset, the test split.
        permutations: number of random swaps.
        bandwidth: h in the data's units; the median distance between any two of the datapoints
            and samples, unless given.
        seed: of the draws and swaps.
        memory: bound in bytes; the distances take 16 for each pair of datapoints.

    Returns:
        `mmd_squared`, which can be negative, `p_value` and `bandwidth`, scalars.

    Raises:
        ValueError: if `bandwidth` is not positive.
        Unsupported: with fewer than 2 datapoints or more than `memory` allows, if the median
            distance is 0, or if the pair cannot be drawn from or is a pseudo-likelihood.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> test = mmd(pairs.assemble(digits, latent=2), digits.test[:50])
        >>> bool(test.p_value < 0.01)
        True
    """
    if bandwidth is not None and not bandwidth > 0:
        raise ValueError(f"bandwidth must be positive, got {bandwidth}")
    x, y = data_and_samples(pair, data, seed, memory)
    rows = len(x)
    if rows < 2 or _BYTES * rows**2 > memory:
        raise Unsupported(
            f"mmd needs 2 to {math.isqrt(memory // _BYTES)} datapoints within memory={memory}; "
            f"got {rows}"
        )
    if bandwidth is None:
        bandwidth = _median_distance(np.concatenate([x, y]))
    if bandwidth == 0:
        raise Unsupported(
            "the median distance between datapoints and samples is 0, as most are equal; pass "
            "another bandwidth to mmd"
        )
    terms = _kernel_terms(x, y, bandwidth)
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


def _median_distance(values: Values) -> float:
    """Return the median distance between two different rows."""
    rows, start = len(values), 0
    distances = np.empty(rows * (rows - 1) // 2)
    for first, part in _row_blocks(values):
        for offset, row in enumerate(_distances(part, values)):
            after = row[first + offset + 1 :]
            distances[start : start + len(after)] = after
            start += len(after)
    return float(np.median(distances, overwrite_input=True))


def _kernel_terms(x: Values, y: Values, bandwidth: float) -> Values:
    """Return the terms of the sum MMD^2, `(data, data)`.

    Swapping x_i and y_i changes the sign of row and column i.
    """

    def kernel(a: Values, b: Values) -> Values:
        values: Values = np.exp(-np.square(_distances(a, b) / bandwidth) / 2)
        return values

    terms = np.empty((len(x), len(x)))
    for first, part in _row_blocks(x):
        last = first + len(part)
        other = y[first:last]
        same = kernel(part, x) + kernel(other, y)
        terms[first:last] = same - kernel(part, y) - kernel(other, x)
    np.fill_diagonal(terms, 0)
    return terms


def _row_blocks(values: Values) -> Iterator[tuple[int, Values]]:
    """Yield blocks of rows, and where they start, so that distances to all rows stay small."""
    size = max(1, _BLOCK // len(values))
    for first in range(0, len(values), size):
        yield first, values[first : first + size]


def _distances(a: Values, b: Values) -> Values:
    """Return Euclidean distances, `(rows of a, rows of b)`."""
    pair = torch.as_tensor(a), torch.as_tensor(b)
    distances: Values = torch.cdist(*pair, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    return distances


def classifier_two_sample(
    pair: Pair,
    data: Data,
    *,
    classifier: Any = None,
    folds: int = 5,
    permutations: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Train a classifier to tell held-out data from samples of the model.

    Its cross-validated accuracy is 1/2 if the model is right, 1 if data and samples do not overlap
    (Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", 2017). One sample is drawn from
    p(x) for every datapoint, given what the model conditions on, and both are in the same fold.
    Under the right model the two can be swapped; p is the rank of the accuracy among those after
    random swaps, for each of which classifiers are trained. It is exactly uniform for data not
    used in the fit; a binomial p-value of cross-validated accuracy is not. Where a mask hides a
    feature, the feature's mean stands in both.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        classifier: a scikit-learn classifier of rows of numbers; logistic regression on
            standardized features and their squares and products, unless given. With many
            features pass another: the number of products grows with the square of theirs.
        folds: number of folds of the cross-validation, at least 2.
        permutations: number of random swaps; each trains `folds` classifiers.
        seed: of the draws, folds and swaps.
        memory: bound in bytes on the intermediate tensors of the draws.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        `accuracy` and `p_value`, scalars.

    Raises:
        ValueError: if `folds` is below 2.
        Unsupported: with fewer datapoints than folds, or if the pair cannot be drawn from or is a
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
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    x, y = data_and_samples(pair, data, seed, memory)
    rows = len(x)
    if rows < folds:
        raise Unsupported(
            f"classifier_two_sample needs at least as many datapoints as folds={folds}; got {rows}"
        )
    if classifier is None:
        classifier = _quadratic()
    generator = np.random.default_rng(seed)
    fold = generator.permutation(rows) % folds
    # The first is without swaps.
    swaps = generator.random((1 + permutations, rows, 1)) < 0.5
    swaps[0] = False
    accuracies = np.array(
        [
            _accuracy(classifier, np.where(swap, y, x), np.where(swap, x, y), fold)
            for swap in progress_bar(swaps, progress=progress)
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
    # Imported here: scikit-learn takes a second to import, and most programs do not need it.
    with seeded(0):  # importing scikit-learn draws random numbers
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
    """Return the cross-validated accuracy of telling x from y, whose rows i are in `fold[i]`."""
    with seeded(0):  # importing scikit-learn draws random numbers
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


def data_and_samples(pair: Pair, data: Data, seed: int, memory: int) -> tuple[Values, Values]:
    """Return the data and one sample of p(x) for each datapoint, a row of numbers each."""
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)
    return of_the_others(pair, batch, lambda rows: _samples_of(pair, rows, seed, memory), names)


def _samples_of(pair: Pair, batch: Batch, seed: int, memory: int) -> tuple[Values, Values]:
    with isolated(pair, seed):
        for name, reason in structure_of(pair, batch).unnormalized.items():
            raise Unsupported(
                f"samples of observed site {name!r} do not have the distribution of its data: "
                f"{reason}; use a normalized likelihood"
            )
        values, masks = observations(pair, batch)
        (drawn,) = replicate(pair, batch, 1, memory, seeds(seed))

    def rows(parts: dict[str, torch.Tensor]) -> torch.Tensor:
        flat = [parts[name].reshape(len(batch[0]), -1).double() for name in values]
        return torch.cat(flat, 1).cpu()

    samples = {name: drawn.simulated[name][0] for name in values}
    return _without_hidden(rows(values), rows(samples), rows(masks) > 0)


def _without_hidden(x: torch.Tensor, y: torch.Tensor, seen: torch.Tensor) -> tuple[Values, Values]:
    """Put the mean of a feature where it is hidden, so that what stands there tells nothing.

    The mean is that of data and samples together, which no swap changes.
    """
    total = torch.where(seen, x + y, 0.0).sum(0)
    mean = total / (2 * seen.sum(0).clamp(min=1))
    first, second = (torch.where(seen, part, mean).numpy() for part in (x, y))
    return first, second
