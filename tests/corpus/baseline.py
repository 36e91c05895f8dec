"""What the columns of a table reach in nats, each taken alone: the least of a pair."""

import numpy as np
from scipy import stats

from ppvae.data.tabular import Category, Count, Date, Positive, Proportion, Real


def independent(dataset):
    """Return the log density of each test row under columns that are fitted one by one."""
    total = np.zeros(len(dataset.test))
    for place, column in enumerate(dataset.schema.features):
        train, test = (
            getattr(dataset, part)[:, place].double().numpy() for part in ("train", "test")
        )
        scores = _scores(column, train[_seen(dataset, "train", place)], test)
        total += np.where(_seen(dataset, "test", place), scores, 0.0)
    return total


def _seen(dataset, part, place):
    if not dataset.seen:
        return np.ones(len(getattr(dataset, part)), dtype=bool)
    return dataset.seen[part][:, place].numpy() > 0


def _scores(column, train, test):
    if isinstance(column, Category):  # and binary
        counts = np.bincount(train.astype(int), minlength=column.count) + 1.0
        return np.log(counts / counts.sum())[test.astype(int)]
    mean, spread = train.mean(), max(train.std(), 1e-12)
    if isinstance(column, Real | Date):
        return stats.norm(mean, spread).logpdf(test)
    if isinstance(column, Positive):
        logs = np.log(train)
        return stats.norm(logs.mean(), max(logs.std(), 1e-12)).logpdf(np.log(test)) - np.log(test)
    if isinstance(column, Count):
        excess = max(spread**2 - mean, 1e-3 * mean)
        size = mean**2 / excess if mean > 0 else 1.0
        return stats.nbinom(size, size / (size + mean)).logpmf(test)
    assert isinstance(column, Proportion)
    if column.ends:
        return np.zeros_like(test)  # uniform
    size = max(mean * (1 - mean) / spread**2 - 1, 1e-3)
    return stats.beta(mean * size, (1 - mean) * size).logpdf(test)
