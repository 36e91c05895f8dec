"""E[z|x] of every datapoint, exact where it is known."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.diagnostics.failed_rows import sound, warn_of_rows
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    Adapted,
    Batch,
    Pair,
    Unsupported,
    adapted,
    by_datapoint,
    draw_chunks,
    progress_bar,
    refuse_without_latents,
    run_pair,
)

Numbers = NDArray[np.float64]


def means_with_variances(
    pair: Pair, batch: Batch, draws: int, memory: int, progress: bool | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return E_{q(z|x)}[z] of every datapoint by site, and the variance of its estimate.

    Exact, with variance 0, where the guide has a single site whose distribution has a known mean;
    elsewhere the mean of draws. Both are `(data, *inner plates, *event)`, in double precision.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        draws: number of draws per datapoint where the mean is not known, at least 2.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.
    """
    means = _exact(pair, batch, memory, progress)
    if means:
        return means, {name: torch.zeros_like(mean) for name, mean in means.items()}
    return _of_draws(pair, batch, draws, memory, progress)


def mean_features(
    pair: Pair, data: Dataset, split: str, draws: int, memory: int, progress: bool | None
) -> Numbers:
    """Return E[z|x] of every datapoint of a split, all sites side by side, `(data, latent)`.

    Those that the pair fails on are NaN, and a warning names them.
    """
    names = names_of(data, split)
    pair, whole = adapted(pair, data, split=split, in_chunks=True)
    kept = sound(pair, whole, names)
    means, _ = means_with_variances(pair, kept.batch, draws, memory, progress)
    columns = [mean.flatten(1) if mean.dim() > 1 else mean[:, None] for mean in means.values()]
    values: Numbers = torch.cat(columns, 1).cpu().numpy()
    lost = np.flatnonzero(~np.isfinite(values).all(1))
    if len(lost) == len(values):
        raise Unsupported(f"the posterior mean of no datapoint of the {split!r} split is finite")
    if len(lost):
        warn_of_rows(kept.rows[lost], kept.count, "its posterior mean is not finite", names)
        values[lost] = np.nan
    return kept.filled(values, 0)


def measured(features: Numbers, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the row numbers, in their order, of datapoints whose features are known."""
    return order[~np.isnan(features[order]).any(1)]


def checked_dataset(function: str, data: object) -> Dataset:
    """Return the data if they are a dataset.

    Raises:
        TypeError: if they are not.
    """
    if isinstance(data, Dataset):
        return data
    raise TypeError(
        f"{function} needs a dataset with separate training and test data, got "
        f"{type(data).__name__}; make one by `ppvae.data.split(name, values, support, ...)`"
    )


def _exact(pair: Pair, batch: Batch, memory: int, progress: bool | None) -> dict[str, Tensor]:
    """Return E[z|x] where the guide's only site has a known mean; nothing elsewhere."""
    means: list[Tensor] = []
    if isinstance(pair, Adapted) and pair.rows_at_once is not None:
        return {}
    with _bar(batch, progress) as bar:
        for chunk, structure, _ in draw_chunks(pair, batch, 1, memory):
            refuse_without_latents(structure)
            if len(structure.latents) != 1 or not structure.ordered:
                return {}
            (name,) = structure.latents
            site = run_pair(pair, chunk)[0][name]
            try:
                mean = site["fn"].mean
            except NotImplementedError:
                return {}
            mean = by_datapoint(mean.double(), site, None)
            if not bool(mean.isfinite().all()):  # some families return NaN where there is no mean
                return {}
            means.append(mean)
            bar.update(len(chunk[0]))
    return {name: torch.cat(means)}


def _of_draws(
    pair: Pair, batch: Batch, draws: int, memory: int, progress: bool | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the mean of each latent's draws, and the variance of that mean."""
    means: dict[str, list[Tensor]] = {}
    noises: dict[str, list[Tensor]] = {}
    with _bar(batch, progress) as bar:
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory):
            drawn = list(parts)
            for name in structure.latents:
                values = torch.cat([part.latents[name] for part in drawn]).double()
                means.setdefault(name, []).append(values.mean(0))
                noises.setdefault(name, []).append(values.var(0) / draws)
            bar.update(len(chunk[0]))
    return (
        {name: torch.cat(chunks) for name, chunks in means.items()},
        {name: torch.cat(chunks) for name, chunks in noises.items()},
    )


def _bar(batch: Batch, progress: bool | None) -> Any:
    return progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
