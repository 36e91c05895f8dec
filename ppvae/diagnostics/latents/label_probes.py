"""How well the latents predict the labels."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.known_cells import numbers_of
from ppvae.diagnostics.latents.posterior_means import (
    checked_dataset,
    mean_features,
    measured,
)
from ppvae.engine import MEMORY, Pair, Unsupported, isolated, seeded

_SPLITS = ("train", "test")


def probes(
    pair: Pair,
    data: Dataset,
    *,
    labels: Mapping[str, ArrayLike] | None = None,
    rows: int = 10_000,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Classify test data from their posterior means, and from the data, with two classifiers.

    - "linear": logistic regression on standardized features, with the penalty half the squared
      weights (Alain and Bengio, "Understanding intermediate layers using linear classifier
      probes", 2016);
    - "nearest": the label of the nearest training datapoint in Euclidean distance.

    Both are fitted to training data and scored on test data. The standard error of the accuracy,
    sqrt(a (1 - a) / data), is for new test data and these classifiers; it is 0 where all or none
    are right. The posterior mean is exact where the guide has one latent whose distribution has a
    known mean; elsewhere it is an average over draws. Datapoints that the pair fails on are left
    out of both representations, and a warning names them.

    Args:
        pair: any pair.
        data: a dataset with training and test data.
        labels: the classes of "train" and "test", `(data,)` each; the dataset's unless given.
        rows: the largest number of training datapoints to fit to, chosen at random.
        draws: number of draws per datapoint where the mean is not known, at least 2.
        seed: of the draws and of the choice of rows.
        memory: bound in bytes on the intermediate tensors.
        progress: show progress bars; only on a terminal, unless given.

    Returns:
        `accuracy` and `standard_error` with dims `(representation, probe)`, representations
        "posterior mean" and "data"; `majority` and `majority_error`, the same for the most
        frequent class of the training data.

    Raises:
        TypeError: if `data` is not a dataset.
        Unsupported: if there are no labels, or fewer than two classes.
        ValueError: if there is not one label per datapoint, or a number is too small.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> scores = probes(pairs.assemble(digits, latent=2), digits, rows=200)
        >>> bool(scores.accuracy.sel(representation="data", probe="nearest") > 0.8)
        True
    """
    data = checked_dataset("probes", data)
    if rows < 2 or draws < 2:
        raise ValueError(f"probes needs rows >= 2 and draws >= 2, got {rows} and {draws}")
    train_labels, test_labels = _labels(data, data.labels if labels is None else labels)
    with isolated(pair, seed):
        features = {
            "posterior mean": [
                mean_features(pair, data, split, draws, memory, progress) for split in _SPLITS
            ],
            "data": [numbers_of(data, data.batch(split)) for split in _SPLITS],
        }
    train_means, test_means = features["posterior mean"]
    shuffled = np.random.default_rng(seed).permutation(len(train_labels))
    order = measured(train_means, shuffled)[:rows]
    scored = measured(test_means, np.arange(len(test_labels)))
    chosen, test_labels = train_labels[order], test_labels[scored]
    if len(np.unique(chosen)) < 2:
        raise Unsupported("probes needs training labels of at least 2 classes, got 1")
    correct = [
        [
            probe.fit(train[order], chosen).predict(test[scored]) == test_labels
            for probe in _probes()
        ]
        for train, test in features.values()
    ]
    classes, counts = np.unique(train_labels, return_counts=True)
    accuracy = np.mean(correct, axis=-1)
    majority = float(np.mean(test_labels == classes[counts.argmax()]))
    number = len(test_labels)
    dims = ("representation", "probe")
    return xr.Dataset(
        {
            "accuracy": (dims, accuracy),
            "standard_error": (dims, np.sqrt(accuracy * (1 - accuracy) / number)),
            "majority": majority,
            "majority_error": math.sqrt(majority * (1 - majority) / number),
        },
        {"representation": list(features), "probe": ["linear", "nearest"]},
        {"units": "fraction of test data", "train": len(order), "test": number},
    )


def _probes() -> tuple[Any, ...]:
    # Imported here because importing scikit-learn takes a second.
    with seeded(0):  # importing scikit-learn draws random numbers
        from sklearn.linear_model import LogisticRegression
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

    return (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=10_000)),
        KNeighborsClassifier(1),
    )


def _labels(
    data: Dataset, labels: Mapping[str, ArrayLike]
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    found = []
    for split in _SPLITS:
        if split not in labels:
            raise Unsupported(
                f"probes needs labels of the {split!r} split of dataset {data.name!r}, which has "
                f"none; pass labels={{'train': ..., 'test': ...}}"
            )
        values, expected = np.asarray(labels[split]), len(getattr(data, split))
        if values.shape != (expected,):
            raise ValueError(
                f"labels of the {split!r} split have shape {values.shape}; expected "
                f"({expected},), one per datapoint"
            )
        found.append(values)
    return found[0], found[1]
