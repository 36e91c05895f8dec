"""Padded series with their lengths, or without what was filled up."""

from dataclasses import replace

import torch
from torch import Tensor

from ppvae.data.dataset import Dataset
from ppvae.data.standardization import Standardization

_SERIES = 10_000  # whose steps units are found from


def with_lengths(dataset: Dataset) -> Dataset:
    """Return padded series as `(data, steps, features)`, with their lengths as the condition.

    What `sequences` returns has vectors and says in `seen` what was filled up; other datasets stay
    as they are.

    Raises:
        ValueError: if a value before the end of a series is missing.

    Example:
        >>> from ppvae.data import sequences
        >>> series = with_lengths(sequences([torch.ones((2 + n % 3, 2)) for n in range(30)]))
        >>> series.event_shape, sorted(set(series.conditions["train"][0].tolist()))
        (torch.Size([4, 2]), [2, 3, 4])
    """
    shape = dataset.series_shape
    if shape is None or dataset.train.dim() > 2:
        return dataset
    lengths = {}
    for part, seen in dataset.seen.items():
        known = seen.unflatten(-1, shape) > 0
        length = lengths_of(known)
        gaps = (~known & (torch.arange(shape[0]) < length[:, None])[..., None]).flatten(1).any(1)
        if gaps.any():
            row = int(dataset.row_numbers(part)[gaps][0])
            raise ValueError(
                f"dataset {dataset.name!r}: sequence {row} has a missing value before its end, "
                "and lengths say only where each one ends; fill it in or leave the sequence out"
            )
        lengths[part] = (length,)
    parts = {part: getattr(dataset, part) for part in ("train", "validation", "test")}
    return replace(
        dataset,
        **{part: rows.unflatten(-1, shape) for part, rows in parts.items()},
        conditions=lengths or dataset.conditions,
        seen={},
    )


def each_step(dataset: Dataset) -> Dataset:
    """Return steps of the training series, `(data, steps, features)`, as datapoints of their own.

    What was filled up is left out, and of many series some are. A standardization stays if it is
    the same at every step; else it is found anew, since that of a step is also of what was filled
    up there.

    Example:
        >>> from ppvae.data import sequences
        >>> series = with_lengths(sequences([torch.ones((2 + n % 3, 2)) for n in range(30)]))
        >>> each_step(series).train.shape[0] == int(series.conditions["train"][0].sum())
        True
    """
    every = slice(None, None, max(1, len(dataset.train) // _SERIES))
    x = dataset.train[every]
    steps = x.flatten(0, 1)
    if dataset.conditions:
        length = dataset.conditions["train"][0][every]
        steps = x[torch.arange(x.shape[1]) < length.unsqueeze(-1)]
    by = dataset.standardization
    if by is not None:
        loc, scale = (part.reshape(-1, x.shape[-1]) for part in (by.loc, by.scale))
        same = bool((loc == loc[0]).all() and (scale == scale[0]).all())
        by = Standardization(loc[0], scale[0]) if same else Standardization.of(steps)
    return Dataset(dataset.name, steps, steps, steps, dataset.support, standardization=by)


def lengths_of(known: Tensor) -> Tensor:
    """Return up to which step each sequence, `(data, steps, features)`, has a value."""
    return torch.where(known.any(-1), torch.arange(1, known.shape[1] + 1), 0).amax(-1)
