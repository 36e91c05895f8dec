"""Whether latent dimensions are the factors from which the data were made."""

import numpy as np
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.latents.posterior_means import (
    Numbers,
    checked_dataset,
    mean_features,
    measured,
)
from ppvae.engine import MEMORY, Pair, Unsupported, isolated, progress_bar, seeded

_SCORES = ("mig", "sap", "disentanglement", "completeness", "informativeness")
_Part = tuple[Numbers, Numbers]
# A gap between values is wide if it is so many times the median of so many gaps on each side. In
# a smooth distribution one is so by chance, seldom, and then adds a bin.
_WIDE, _AROUND = 30, 16


def disentanglement(
    pair: Pair,
    data: Dataset,
    *,
    bins: int = 20,
    rows: int = 2000,
    resamples: int = 20,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure how well single posterior means match the known factors of a dataset.

    - `mig`, the mutual information gap of Chen, Li, Grosse and Duvenaud, 2018: see
      `information_gap`;
    - `sap`, the separated attribute predictability of Kumar, Sattigeri and Balakrishnan, 2018: see
      `predictability_gap`, by squared correlation;
    - `disentanglement`, `completeness`, `informativeness` of Eastwood and Williams, 2018: see
      `importance_scores`, by random forests.

    All are computed from training data, informativeness on test data. All are 1 at best; for noise
    the first four are near 0, informativeness at 0 or a little below. All but the last depend on
    the axes of the latent space and change under a rotation. Standard errors are standard
    deviations over bootstrap resamples of the datapoints (Efron and Tibshirani, "An Introduction
    to the Bootstrap", 1993): for new data and the same trained pair. Datapoints that the pair
    fails on are left out, and a warning names them.

    Args:
        pair: any pair.
        data: a dataset with at least two known factors, such as `ppvae.data.factors()`.
        bins: number of bins of `mig`.
        rows: how many datapoints of each split to use at most, drawn at random.
        resamples: number of bootstrap resamples.
        draws: number of draws per datapoint where the posterior mean is not known.
        seed: of the draws, the choice of rows, the forests and the resamples.
        memory: bound in bytes on the intermediate tensors.
        progress: show progress bars; only on a terminal, unless given.

    Returns:
        `value` and `standard_error`, dims `(score,)`.

    Raises:
        TypeError: if `data` is no dataset.
        Unsupported: with fewer than two factors, or a factor that is constant.
        ValueError: if a number is too small.

    Example:
        >>> from ppvae import data, pairs
        >>> squares = data.factors(200)
        >>> pair = pairs.assemble(squares, latent=4)
        >>> disentanglement(pair, squares, resamples=2).score.values.tolist()
        ['mig', 'sap', 'disentanglement', 'completeness', 'informativeness']
    """
    data = checked_dataset("disentanglement", data)
    known = len(data.factor_names)
    if known < 2:
        raise Unsupported(
            f"disentanglement needs a dataset with at least 2 known factors, got {known} in "
            f"{data.name!r}; give them by `ppvae.data.split(..., factors={{name: values}})`"
        )
    _check(bins=(bins, 2), rows=(rows, 10), resamples=(resamples, 2), draws=(draws, 2))
    generator = np.random.default_rng(seed)
    with isolated(pair, seed):
        train, test = (
            _part(
                data,
                split,
                mean_features(pair, data, split, draws, memory, progress),
                rows,
                generator,
            )
            for split in ("train", "test")
        )
    value = _measure(train, test, bins, seed)
    resampled = [
        _measure(_resampled(train, generator), _resampled(test, generator), bins, seed)
        for _ in progress_bar(range(resamples), unit=" resamples", progress=progress)
    ]
    return xr.Dataset(
        {
            "value": ("score", np.array(value)),
            "standard_error": ("score", np.std(resampled, axis=0, ddof=1)),
        },
        {"score": list(_SCORES)},
        {"factors": list(data.factor_names), "train": len(train[0]), "test": len(test[0])},
    )


def _check(**numbers: tuple[int, int]) -> None:
    for argument, (value, least) in numbers.items():
        if value < least:
            raise ValueError(f"disentanglement needs {argument} >= {least}, got {value}")


def _measure(train: _Part, test: _Part, bins: int, seed: int) -> tuple[float, ...]:
    gaps = information_gap(*train, bins), predictability_gap(*train)
    return (*gaps, *importance_scores(train, test, seed))


def _part(
    data: Dataset, split: str, values: Numbers, rows: int, generator: np.random.Generator
) -> _Part:
    """Return features and factors of some rows, chosen at random."""
    factors = data.factors[split].double().cpu().numpy()
    order = measured(values, generator.permutation(len(factors)))[:rows]
    for name, column in zip(data.factor_names, factors[order].T, strict=True):
        if column.min() == column.max():
            raise Unsupported(
                f"factor {name!r} of dataset {data.name!r} is constant in the {split!r} split and "
                "cannot be measured; leave it out"
            )
    return values[order], factors[order]


def _resampled(part: _Part, generator: np.random.Generator) -> _Part:
    index = generator.integers(len(part[0]), size=len(part[0]))
    return part[0][index], part[1][index]


def information_gap(features: Numbers, factors: Numbers, bins: int) -> float:
    """Return the mutual information gap (MIG), between 0 and 1.

        MIG = 1/K sum_k (I(z_j1; v_k) - I(z_j2; v_k)) / H(v_k)

    with j1 and j2 the two dimensions of largest mutual information with factor k (Chen, Li, Grosse
    and Duvenaud, "Isolating Sources of Disentanglement in Variational Autoencoders", 2018). Values
    are counted in bins, see `binned`. The entropies are corrected for the bias of counts
    by the jackknife (Zahl, "Jackknifing an Index of Diversity", 1977), which takes off more of it
    than the number of occupied cells does where cells hold few datapoints (Paninski, "Estimation
    of Entropy and Mutual Information", 2003).

    Args:
        features: `(data, latent)`.
        factors: `(data, factor)`.
        bins: number of bins.

    Example:
        >>> generator = np.random.default_rng(0)
        >>> factors = generator.integers(5, size=(2000, 2)).astype(float)
        >>> codes = factors + 0.01 * generator.normal(size=factors.shape)
        >>> round(information_gap(codes, factors, 20), 3)
        1.0
    """
    latents = [binned(column, bins) for column in features.T]
    gaps = []
    for factor in (binned(column, bins) for column in factors.T):
        entropy, cells = _entropy(factor), factor.max() + 1
        known = [entropy + _entropy(z) - _entropy(z * cells + factor) for z in latents]
        second, first = sorted([0.0, 0.0, *known])[-2:]
        gaps.append((first - second) / entropy)
    return float(np.mean(gaps))


def binned(values: Numbers, bins: int) -> NDArray[np.int64]:
    """Return the bin of each value, counted from 0; equal values share a bin.

    Bins hold equally many values, except where values stand in groups with gaps between them, as a
    code of a factor of a few levels does. There the bins end in the gaps: a bin of two levels
    would lose what the code knows of them. So there may be up to 3 `bins` bins.

    Example:
        >>> binned(np.array([0.1, 5.0, 0.2, 9.0]), 2)
        array([0, 1, 0, 1])
    """
    distinct, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(distinct) <= bins:
        return index.astype(np.int64)
    # Of bins that hold equally many, each ends after a share of the values; here, how far it is
    # from there to each place between two values.
    distances = abs(np.cumsum(counts)[:-1] / len(values) - np.arange(1, bins)[:, None] / bins)
    wide = _wide_gaps(distinct)
    if len(wide) >= 2 * bins:
        wide = wide[distances[:, wide].argmin(1)]
    alone = (distances[:, wide] > 0.5 / bins).all(1)
    ends = np.unique(np.concatenate([wide, distances[alone].argmin(1)]))
    return np.searchsorted(ends, index).astype(np.int64)


def _wide_gaps(ascending: Numbers) -> NDArray[np.int64]:
    """Return the values, by their index, after which there is a much wider gap than around it."""
    gaps = np.diff(ascending)
    around = sliding_window_view(np.pad(gaps, _AROUND, mode="reflect"), 2 * _AROUND + 1)
    return np.flatnonzero(gaps > _WIDE * np.median(around, -1))


def _entropy(index: NDArray[np.int64]) -> float:
    """Return the entropy of integers in nats, by the jackknife.

    N H - (N - 1) / N sum_i H_i,    H_i without datapoint i
    """
    counts = np.unique(index, return_counts=True)[1]
    number = len(index)
    logs = counts * np.log(counts)
    fewer = (counts - 1) * np.log(np.maximum(counts - 1, 1))
    entropy = np.log(number) - logs.sum() / number
    without = np.log(number - 1) - (logs.sum() - logs + fewer) / (number - 1)
    return float(number * entropy - (number - 1) / number * (counts @ without))


def predictability_gap(features: Numbers, factors: Numbers) -> float:
    """Return the separated attribute predictability (SAP), between 0 and 1.

        SAP = 1/K sum_k (S_j1k - S_j2k),    S_jk = Cov(z_j, v_k)^2 / (Var(z_j) Var(v_k))

    with the two dimensions of the best scores for factor k (Kumar, Sattigeri and Balakrishnan,
    "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations", 2018).
    They use this score for continuous factors; here it is used for all. A constant dimension
    scores 0.

    Args:
        features: `(data, latent)`.
        factors: `(data, factor)`.

    Example:
        >>> values = np.array([[0.0, 1.0], [1.0, -1.0], [0.0, -1.0], [1.0, 1.0]])
        >>> round(predictability_gap(values, values), 6)
        1.0
    """
    z, v = features - features.mean(0), factors - factors.mean(0)
    spread = np.square(z).sum(0)
    scale = spread[:, None] * np.square(v).sum(0)
    # A dimension whose spread is below rounding is constant: its correlation would be noise.
    moving = spread > len(z) * np.square(np.finfo(z.dtype).eps * np.abs(features).max(0))
    products = np.where(moving[:, None], np.square(z.T @ v), 0.0)
    scores = np.vstack([products / np.where(scale > 0, scale, 1.0), np.zeros((1, v.shape[1]))])
    first, second = np.sort(scores, axis=0)[::-1][:2]
    return float(np.mean(first - second))


def importance_scores(train: _Part, test: _Part, seed: int) -> tuple[float, float, float]:
    """Return disentanglement, completeness and informativeness (DCI), 1 at best.

    A random forest predicts each factor from all dimensions; R_jk is the share of dimension j in
    the variance that the forest of factor k explains (Eastwood and Williams, "A framework for the
    quantitative evaluation of disentangled representations", 2018).

    - disentanglement: sum_j rho_j (1 - H_K(R_j. / sum)), rho_j the share of row j: 1 if each
      dimension predicts one factor only;
    - completeness: 1/K sum_k (1 - H_D(R_.k)): 1 if each factor is predicted by one dimension only;
    - informativeness: the mean R^2 of the forests on test data; below 0 if worse than a constant.

    H_K and H_D are entropies to the base of the number of factors and of dimensions.

    Args:
        train: features `(data, latent)` and factors `(data, factor)` to fit to.
        test: the same, to measure informativeness.
        seed: of the forests.
    """
    # Imported here because importing scikit-learn takes a second.
    with seeded(0):  # importing scikit-learn draws random numbers
        from sklearn.ensemble import RandomForestRegressor

    columns, informativeness = [], []
    for factor, held_out in zip(train[1].T, test[1].T, strict=True):
        forest = RandomForestRegressor(
            n_estimators=10, min_samples_leaf=5, random_state=seed % 2**32
        )
        forest.fit(train[0], factor)
        columns.append(forest.feature_importances_)
        informativeness.append(forest.score(test[0], held_out))
    disentangled, complete = concentration_scores(np.stack(columns, 1))
    return disentangled, complete, float(np.mean(informativeness))


def concentration_scores(importances: Numbers) -> tuple[float, float]:
    """Return disentanglement and completeness of a matrix R of importances, `(latent, factor)`.

    Example:
        >>> concentration_scores(np.eye(3))
        (1.0, 1.0)
        >>> concentration_scores(np.ones((2, 2)))
        (0.0, 0.0)
    """
    rows = importances.sum(1)
    if rows.sum() == 0:
        return 0.0, 0.0
    disentangled = (rows / rows.sum()) @ _concentration(importances)
    return float(disentangled), float(_concentration(importances.T).mean())


def _concentration(weights: Numbers) -> Numbers:
    """Return 1 - the relative entropy of each row: 1 for one nonzero weight, 0 for none."""
    total = weights.sum(1, keepdims=True)
    share = weights / np.where(total > 0, total, 1.0)
    logs = np.log(np.where(share > 0, share, 1.0))
    entropy = -(share * logs).sum(1)
    relative = entropy / np.log(max(weights.shape[1], 2))
    concentration: Numbers = np.where(total[:, 0] > 0, 1 - relative, 0.0)
    return concentration
