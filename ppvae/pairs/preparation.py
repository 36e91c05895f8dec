"""The encoder's input for a dataset: what is subtracted, divided by, one-hot or joined to it."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import Categories, Dataset, SparseRows, Standardization
from ppvae.networks import EncoderInput
from ppvae.networks.encoder_input import LOG, LOG1P
from ppvae.pairs.families import parts_of

_ROWS = 10_000  # that the maps of the features are found from


def prepared(
    dataset: Dataset,
    scaling: Standardization | None,
    network: Callable[[int], nn.Module],
    given: int,
) -> EncoderInput:
    """Return an encoder that takes a dataset's batches `(x, *conditions, size, seen)`.

    Args:
        dataset: the data.
        scaling: of real features, where it is known; of others it is found.
        network: called with the size of its input.
        given: how many numbers the conditions have.
    """
    features = dataset.event_shape.numel()
    parts = [part for part, n in parts_of(dataset.support, features) for _ in range(n)]
    levels = [int(p.upper_bound) + 1 if isinstance(p, Categories) else 0 for p in parts]
    masked = bool(dataset.seen)
    width = EncoderInput.width_of(levels, masked) + given
    layer = EncoderInput(network(width), levels, sized=bool(dataset.sizes), masked=masked)
    layer.set_maps(*_maps(dataset, parts, scaling))
    return layer


def _maps(
    dataset: Dataset, parts: list[constraints.Constraint], scaling: Standardization | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return shift, scale and what to take the logarithm of, `(features,)` each."""
    if isinstance(dataset.train, SparseRows):
        mean, variance = dataset.train.moments(np.log1p)
        scale = torch.where(variance > 0, variance, 1.0).sqrt()
        return mean, scale, torch.full(mean.shape, LOG1P)
    every = max(1, len(dataset.train) // _ROWS)
    rows = dataset.train[::every].double().flatten(1)
    seen = dataset.seen["train"][::every].flatten(1) if dataset.seen else None
    kinds = {constraints.nonnegative_integer: LOG1P, constraints.positive: LOG}
    logged = torch.tensor([kinds.get(part, 0) for part in parts])
    tiny = torch.finfo(torch.float32).tiny
    rows = torch.where(logged == LOG1P, torch.log1p(rows.clamp(min=0)), rows)
    rows = torch.where(logged == LOG, rows.clamp(min=tiny).log(), rows)
    by = Standardization.of(rows, seen)
    loc, scale = by.loc, by.scale
    if scaling is not None:
        loc, scale = scaling.loc.flatten().double(), scaling.scale.flatten().double()
    # Levels of a known range are divided by the highest, as pixels that hardly vary should be.
    highest = torch.tensor(
        [
            float(p.upper_bound) if isinstance(p, constraints.integer_interval) else 0.0
            for p in parts
        ]
    )
    bounded = (highest > 0) & ~torch.tensor([isinstance(p, Categories) for p in parts])
    if dataset.image_shape is not None:
        highest = torch.where(highest > 0, highest, 1.0)
        bounded = bounded | torch.tensor([hasattr(p, "upper_bound") for p in parts])
    loc = torch.where(bounded, torch.zeros_like(loc), loc)
    scale = torch.where(bounded, highest.double(), scale)
    return loc, scale, logged
