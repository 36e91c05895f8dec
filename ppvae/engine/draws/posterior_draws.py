"""Draws z from about p(z|x): the guide's draws, chosen by their importance weights."""

from contextlib import nullcontext
from typing import Any

import pyro
import torch
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.draws.guide_draws import draw_latents, latent_sites, score_sites
from ppvae.engine.execution import execute
from ppvae.engine.model_draws import DRAWS
from ppvae.engine.pair import Pair
from ppvae.engine.sites import PLATE, Site, Sites, plates, unvectorized
from ppvae.engine.structure import Structure


def draw_resampled(
    pair: Pair, batch: Batch, structure: Structure, proposals: int, at_once: int | None
) -> tuple[Sites, Tensor]:
    """Draw z once for every datapoint, by sampling importance resampling.

        z_k ~ q(z|x),  k = 1, ..., K,    z = z_k with probability w_k / sum_j w_j

    with weights w_k = p(x, z_k) / q(z_k|x). As K grows, z becomes a draw of p(z|x) (Rubin, "Using
    the SIR algorithm to simulate posterior distributions", 1988). A single proposal is the
    guide's draw.

    Args:
        pair: the model/guide pair, whose guide has a density.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        proposals: K.
        at_once: number of proposals to be drawn at once, or None for one after the other.

    Returns:
        The latent sites, as `draw_latents` returns them, and the effective sample size of the
        weights, (sum w)^2 / sum w^2, `(data,)`.
    """
    rows = len(batch[0])
    if proposals == 1:
        return draw_latents(pair, batch, structure), torch.ones(rows)
    chosen: Sites = {}
    collected: list[Tensor] = []
    for start in range(0, proposals, at_once or 1):
        draws = min(at_once, proposals - start) if at_once else None
        around: Any = nullcontext()
        if draws is not None:
            around = pyro.plate(DRAWS, draws, dim=structure.draw_dim)
        # Parameters were looked at with the structure; what is not finite here has no weight.
        with around, pyro.validation_enabled(False):
            guide, model = execute(pair, batch, structure)
            weights = score_sites(guide, model, structure, rows, draws).log_weights.double()
        collected.append(weights.nan_to_num(nan=-torch.inf))
        # The largest of log w_k plus standard Gumbel noise is at k with probability w_k / sum w.
        noise = -torch.empty_like(weights).exponential_().log()
        score, index = (collected[-1] + noise).max(0)
        sites = latent_sites(guide, model, structure, rows, draws)
        drawn = {
            name: _taken(site, None if draws is None else structure.draw_dim, index)
            for name, site in sites.items()
        }
        if not chosen:
            best = torch.full_like(score, -torch.inf)
            chosen = drawn
        better, best = score > best, score.maximum(best)
        for name, site in drawn.items():
            value = torch.where(_by_row(better, site), site["value"], chosen[name]["value"])
            chosen[name] = {**site, "value": value}
    relative = torch.cat(collected).softmax(0)
    return chosen, 1 / relative.square().sum(0)


def _taken(site: Site, draw_dim: int | None, index: Tensor) -> Site:
    """Return a site with the draw of each datapoint that `index` names, `(*batch, *event)`."""
    if draw_dim is None:
        return site
    values = unvectorized(site, draw_dim)
    depth = max(-frame.dim for frame in plates(site) if frame.dim != draw_dim)
    while values.dim() - 1 > depth + site["fn"].event_dim and values.shape[1] == 1:
        values = values.squeeze(1)  # a plate of another site stood there
    places = _by_row(index, site).expand(values.shape[1:])
    return {**site, "value": values.gather(0, places.unsqueeze(0)).squeeze(0)}


def _by_row(values: Tensor, site: Site) -> Tensor:
    """Arrange one number for each datapoint so that it broadcasts with a site's value."""
    (data_dim,) = (frame.dim for frame in plates(site) if frame.name == PLATE)
    return values.reshape(-1, *(1,) * (-data_dim - 1 + site["fn"].event_dim))
