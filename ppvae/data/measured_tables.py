"""Tables of measurements that scikit-learn brings along, with cells removed on request."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.removed_cells import without_cells
from ppvae.data.splitting import split


def breast_cancer(missing: float = 0.0, *, at_random: bool = True, seed: int = 0) -> Dataset:
    """Return 30 measurements of cell nuclei of 569 tumors, malignant or benign.

    (Wolberg, Mangasarian, Street and Street, "Breast Cancer Wisconsin (Diagnostic)", UCI, 1993.)
    Features get units of their own (`Dataset.standardized`). A fixed random tenth of the rows is
    for validation, another one for testing. `breast_cancer()`, without an argument, has the true
    values of removed cells, in the same rows.

    Args:
        missing: the share of cells to remove.
        at_random: whether a cell's value does not matter; else cells above the mean of their
            column are removed alone: see `without_cells`.
        seed: of the choice of cells.

    Raises:
        ValueError: if the share is not in [0, 1).

    Example:
        >>> gaps = breast_cancer(missing=0.5)
        >>> gaps.train.shape, round(float(gaps.seen["train"].mean()), 1)
        (torch.Size([457, 30]), 0.5)
    """
    from sklearn.datasets import load_breast_cancer

    return without_cells(
        _table("breast_cancer", load_breast_cancer), missing, at_random=at_random, seed=seed
    )


def wine(missing: float = 0.0, *, at_random: bool = True, seed: int = 0) -> Dataset:
    """Return 13 chemical measurements of 178 wines of three cultivars.

    (Aeberhard and Forina, "Wine", UCI, 1992.) Features get units of their own, and a fixed random
    tenth of the rows is for validation, another one for testing. `wine()`, without an argument,
    has the true values of removed cells, in the same rows.

    Args:
        missing: the share of cells to remove.
        at_random: whether a cell's value does not matter; else cells above the mean of their
            column are removed alone: see `without_cells`.
        seed: of the choice of cells.

    Raises:
        ValueError: if the share is not in [0, 1).

    Example:
        >>> wine().columns[:3]
        ('alcohol', 'malic_acid', 'ash')
    """
    from sklearn.datasets import load_wine

    return without_cells(_table("wine", load_wine), missing, at_random=at_random, seed=seed)


def _table(name: str, load: Callable[[], Any]) -> Dataset:
    """Return a table of scikit-learn, its rows split at random."""
    bunch = load()
    values = torch.as_tensor(bunch.data, dtype=torch.float32)
    table = split(name, values, constraints.real, labels=torch.as_tensor(bunch.target).long())
    return replace(
        table.standardized(),
        columns=tuple(map(str, bunch.feature_names)),
        label_names=tuple(map(str, bunch.target_names)),
    )
