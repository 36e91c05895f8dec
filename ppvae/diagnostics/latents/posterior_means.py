"""E[z|x] of every datapoint, exact where it is known."""

import torch
from torch import Tensor

from ppvae.engine import Batch, Pair, by_datapoint, draw_chunks, run_pair


def posterior_means(
    pair: Pair, batch: Batch, draws: int, memory: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return E_{q(z|x)}[z] of every datapoint by site, and the variance of its estimate.

    Exact, with variance 0, where the guide's only site knows its mean; elsewhere the mean of
    draws. Both are `(data, *inner plates, *event)`, in double precision.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        draws: number of draws per datapoint where the mean is not known, at least 2.
        memory: a bound in bytes on the intermediate tensors.
    """
    means = _exact(pair, batch, memory)
    if means:
        return means, {name: torch.zeros_like(mean) for name, mean in means.items()}
    return _of_draws(pair, batch, draws, memory)


def _exact(pair: Pair, batch: Batch, memory: int) -> dict[str, Tensor]:
    """Return E[z|x] where the guide's only site knows its mean; nothing elsewhere."""
    means: list[Tensor] = []
    for chunk, structure, _ in draw_chunks(pair, batch, 1, memory):
        if len(structure.latents) != 1 or not structure.ordered:
            return {}
        (name,) = structure.latents
        site = run_pair(pair, chunk)[0][name]
        try:
            mean = by_datapoint(site["fn"].mean.double(), site, None)
        except NotImplementedError:
            return {}
        if not bool(mean.isfinite().all()):  # some families say NaN where they have no mean
            return {}
        means.append(mean)
    return {name: torch.cat(means)}


def _of_draws(
    pair: Pair, batch: Batch, draws: int, memory: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the mean of each latent's draws, and the variance of that mean."""
    means: dict[str, list[Tensor]] = {}
    noises: dict[str, list[Tensor]] = {}
    for _, structure, parts in draw_chunks(pair, batch, draws, memory):
        drawn = list(parts)
        for name in structure.latents:
            values = torch.cat([part.latents[name] for part in drawn]).double()
            means.setdefault(name, []).append(values.mean(0))
            noises.setdefault(name, []).append(values.var(0) / draws)
    return (
        {name: torch.cat(chunks) for name, chunks in means.items()},
        {name: torch.cat(chunks) for name, chunks in noises.items()},
    )
