"""The variance of each latent under the prior, exact where it is known."""

import math

import numpy as np
import torch
from torch import Tensor

from ppvae.diagnostics.latents.dependence import changed_by_draws
from ppvae.engine import (
    Batch,
    Pair,
    Site,
    Unsupported,
    by_datapoint,
    draw_chunks,
    execute,
)

_DRAWS = 1000  # of each latent, over all datapoints
_QUANTILES = (0.15866, 0.84134)  # one standard deviation around the mean of a normal distribution


def prior_variances(pair: Pair, batch: Batch, memory: int) -> dict[str, Tensor]:
    """Return the variance of every latent under the prior, `(*inner plates, *event)`, by site.

    It is that of the data's average prior. It is exact where the prior's mean and variance are
    known and do not depend on other latents. Elsewhere, as for a Cauchy distribution, it is the
    squared half width of the central 68 % of draws. Where the prior has no draws, as an improper
    one, draws of the guide take their place.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        memory: bound in bytes on the intermediate tensors.
    """
    moments: dict[str, list[tuple[Tensor, Tensor]]] = {}
    unknown: set[str] = set()
    latents: tuple[str, ...] = ()
    for chunk, structure, _ in draw_chunks(pair, batch, 1, memory):
        latents = structure.latents
        _, model = execute(pair, chunk, structure)
        _, again = execute(pair, chunk, structure)
        unknown |= set(latents if structure.marginalized else ())
        unknown |= set(changed_by_draws(model, again, latents))
        for name in latents:
            found = None if name in unknown else _moments(model[name])
            if found is None:
                unknown.add(name)
            else:
                moments.setdefault(name, []).append(found)
    exact = {name: _total(moments[name]) for name in latents if name not in unknown}
    return exact | _of_draws(pair, batch, unknown, memory)


def _moments(site: Site) -> tuple[Tensor, Tensor] | None:
    """Return mean and variance of a site, `(data, *inner plates, *event)`; None if not known."""
    try:
        mean, variance = site["fn"].mean, site["fn"].variance
    except NotImplementedError:
        return None
    mean, variance = (by_datapoint(part.double(), site, None) for part in (mean, variance))
    finite = bool(mean.isfinite().all()) and bool(variance.isfinite().all())
    return (mean, variance) if finite else None


def _total(moments: list[tuple[Tensor, Tensor]]) -> Tensor:
    means, variances = (torch.cat(parts) for parts in zip(*moments, strict=True))
    # Relative to the first datapoint, so that equal means have a variance of exactly 0.
    return variances.mean(0) + (means - means[:1]).var(0, correction=0)


def _of_draws(pair: Pair, batch: Batch, names: set[str], memory: int) -> dict[str, Tensor]:
    if not names:
        return {}
    draws = math.ceil(_DRAWS / len(batch[0]))
    try:
        values = _collected(pair, batch, draws, memory, names, prior=True)
    except Unsupported:
        values = _collected(pair, batch, draws, memory, names, prior=False)
    return {name: _spread(torch.cat(parts)) for name, parts in values.items()}


def _collected(
    pair: Pair, batch: Batch, draws: int, memory: int, names: set[str], *, prior: bool
) -> dict[str, list[Tensor]]:
    """Draw latents from the prior or the guide: lists of `(draws, *inner plates, *event)`."""
    values: dict[str, list[Tensor]] = {name: [] for name in names}
    seed = 0 if prior else None
    for _, _, parts in draw_chunks(pair, batch, draws, memory, simulation_seed=seed):
        for part in parts:
            drawn = part.simulated if prior else part.latents
            for name in names:
                values[name].append(drawn[name].double().flatten(0, 1))
    return values


def _spread(values: Tensor) -> Tensor:
    low, high = np.quantile(values.cpu().numpy(), _QUANTILES, axis=0)
    squared = torch.as_tensor((high - low) / 2, device=values.device).square()
    return torch.where(squared > 0, squared, values.var(0))
