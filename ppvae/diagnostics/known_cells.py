"""Datapoints as rows of numbers, for classifiers, which take no missing cells."""

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.engine import Batch, as_tensor


def numbers_of(data: Dataset, batch: Batch) -> NDArray[np.float64]:
    """Return datapoints as rows of numbers; cells that are not known have the training mean.

    Args:
        data: the dataset.
        batch: a batch as `data.batch(split)` returns it.

    Example:
        >>> from ppvae import data
        >>> digits = data.digits()
        >>> numbers_of(digits, digits.batch("test")).shape
        (179, 64)
    """
    x = as_tensor(batch[0])
    x = x.reshape(len(x), -1).double().cpu()
    if data.seen:
        train, known = (p.flatten(1).double().cpu() for p in (data.train, data.seen["train"]))
        mean = (train * known).sum(0) / known.sum(0).clamp(min=1)
        x = torch.where(batch[-1].flatten(1).cpu() > 0, x, mean)
    values: NDArray[np.float64] = x.numpy()
    return values
