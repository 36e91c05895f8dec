"""Datapoints as the numbers that a pair encodes them by."""

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.latents.posterior_means import posterior_means
from ppvae.engine import Pair, as_batch

Numbers = NDArray[np.float64]


def codes(pair: Pair, data: Dataset, split: str, draws: int, memory: int) -> Numbers:
    """Return E[z|x] of every datapoint of a split, all sites side by side, `(data, latent)`."""
    means, _ = posterior_means(pair, as_batch(data, pair, split=split), draws, memory)
    columns = [mean.flatten(1) if mean.dim() > 1 else mean[:, None] for mean in means.values()]
    values: Numbers = torch.cat(columns, 1).cpu().numpy()
    return values


def checked_dataset(function: str, data: object) -> Dataset:
    """Refuse what is no dataset.

    Raises:
        TypeError: if it is none.
    """
    if isinstance(data, Dataset):
        return data
    raise TypeError(
        f"{function} needs a dataset, with training and test data apart, got "
        f"{type(data).__name__}; make one by `ppvae.data.split(name, values, support, ...)`"
    )
