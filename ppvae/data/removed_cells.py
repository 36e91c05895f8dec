"""Removes cells of complete data: what was there can be compared with what is filled in."""

from dataclasses import replace

import torch
from torch import Tensor

from ppvae.data.dataset import Dataset
from ppvae.data.standardization import Standardization
from ppvae.data.supports import filling


def without_cells(
    dataset: Dataset, missing: float, *, at_random: bool = True, seed: int = 0
) -> Dataset:
    """Return a dataset of which cells are removed; what was there, the one given has.

    At random, each cell is missing with the same probability. Not at random, a cell's value
    decides: those above the mean of their column alone are removed, each with the probability
    that makes the share `missing`, or all of them where they are fewer (as in Ipsen, Mattei and
    Frellsen, "not-MIWAE: Deep Generative Modelling with Missing not at Random Data", 2021).

    The removed cells hold a number of the support that does not depend on the data. A
    standardization is found anew from the training cells that are left.

    Args:
        dataset: complete data of one support, as tensors.
        missing: the share of cells to remove, between 0 and 1; of 0 all stay.
        at_random: whether it does not depend on their values.
        seed: of the choice.

    Raises:
        ValueError: if the share is not in [0, 1), the dataset lacks cells already, or its columns
            are of different kinds.

    Example:
        >>> from ppvae import data
        >>> whole = data.digits()
        >>> gaps = without_cells(whole, 0.3)
        >>> known = gaps.seen["test"] > 0
        >>> round(float(known.float().mean()), 1), bool((gaps.test == whole.test)[known].all())
        (0.7, True)
    """
    if not 0 <= missing < 1:
        raise ValueError(f"missing must be a share of at least 0 and below 1, got {missing}")
    if dataset.seen or isinstance(dataset.support, torch.distributions.constraints.cat):
        raise ValueError(
            f"dataset {dataset.name!r} must be complete and of one support, and it is not; leave "
            "cells out of the table that it is read from"
        )
    if missing == 0:
        return dataset
    train = dataset.train
    if at_random:
        probability = torch.full(dataset.event_shape, missing, dtype=torch.float64)
    else:
        above = (train > train.mean(0)).double().mean(0)
        probability = (missing / above.clamp(min=1e-9)).clamp(max=1)
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, Tensor] = {}
    seen: dict[str, Tensor] = {}
    for part in ("train", "validation", "test"):
        x = getattr(dataset, part)
        gone = torch.rand(x.shape, generator=generator, dtype=torch.float64) < probability
        if not at_random:
            gone = gone & (x > train.mean(0))
        parts[part] = torch.where(gone, torch.full_like(x, filling(dataset.support)), x)
        seen[part] = (~gone).to(x.dtype)
    by = dataset.standardization and Standardization.of(parts["train"], seen["train"])
    return replace(
        dataset,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        seen=seen,
        standardization=by,
    )
