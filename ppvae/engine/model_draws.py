"""Draws from the model of any pair: z ~ p(z) and x ~ p(x|z), observations set aside."""

import math
from collections.abc import Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.pair import Pair
from ppvae.engine.sites import (
    PLATE,
    Site,
    Sites,
    by_datapoint,
    log_prob,
    one_draw,
    per_datapoint,
    plates,
    sample_sites,
)
from ppvae.engine.structure import Structure

DRAWS = "ppvae draws"
"""The name of the plate over draws: one that no pair has."""


class Unobserved(UnconditionMessenger):  # type: ignore[misc]
    """Draws a model's observed sites anew; what it computes or adds as a factor stays as it is.

    `poutine.uncondition` would expand the values of `pyro.deterministic` by the plates' sizes.
    """

    def _pyro_sample(self, msg: Any) -> None:
        if not msg["infer"].get("_deterministic") and not site_is_factor(msg):
            super()._pyro_sample(msg)


def simulate(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    draws: int | None,
    values: Mapping[str, Site] | None = None,
) -> dict[str, Tensor]:
    """Run the model without its observations; return its draws, `(draw, data, ...)`, by site.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        draws: number of draws at once, in a plate left of all others; None for one draw without
            such a plate.
        values: sites whose values are given instead of drawn.

    Raises:
        ValueError: if a distribution cannot be drawn from, or the model cannot run.
    """
    draw_dim = None if draws is None else structure.draw_dim
    arranged = {
        name: by_datapoint(site["value"], site, draw_dim)
        for name, site in simulated_sites(pair, batch, structure, draws, values or {}).items()
        if not site_is_factor(site)
    }
    if draws is not None:
        return arranged
    return {name: value.unsqueeze(0) for name, value in arranged.items()}


def simulated_sites(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    draws: int | None,
    values: Mapping[str, Site],
) -> Sites:
    """Run the model without its observations; return its sites as they are drawn.

    What a site observed stands in its `infer` as `obs`. The arguments are those of `simulate`.

    Raises:
        ValueError: if a distribution cannot be drawn from, or the model cannot run.
    """
    given = poutine.Trace()
    for name, site in values.items():
        given.add_node(name, **{**site, "is_observed": False})
    model = poutine.trace(poutine.replay(Unobserved()(pair.model), trace=given))
    try:
        if draws is None:
            return sample_sites(model.get_trace(*batch))
        with pyro.plate(DRAWS, draws, dim=structure.draw_dim):
            return sample_sites(model.get_trace(*batch))
    except (NotImplementedError, RuntimeError, ValueError, IndexError, TypeError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"the model cannot be drawn from ({first}), which simulations need; `evidence`, `ais` "
            "and `to_arviz(..., predictive=False)` do not"
        ) from error


def vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two simulations at once have the densities that each of them has alone.

    A model that reads its own observations meets them with a dimension of draws only here.
    """
    try:
        together = simulated_sites(pair, batch, structure, 2, {})
        total = _total(together, structure, len(batch[0]), 2)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    for index in range(2):
        drawn = {name: site for name, site in together.items() if not site_is_factor(site)}
        given = one_draw(drawn, structure.draw_dim, index).nodes
        single = simulated_sites(pair, batch, structure, None, given)
        alone = _total(single, structure, len(batch[0]), None)[0]
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        if not torch.allclose(total[index], alone, rtol=tolerance, atol=tolerance, equal_nan=True):
            return False
    return True


def draw_marginalized(
    model: Sites, structure: Structure, log_joint: Tensor, draws: int | None
) -> Sites:
    """Draw the summed-out discrete sites from p(k | x, z), exactly.

    Args:
        model: the model's sites, enumerated.
        structure: names the sites.
        log_joint: log p(x, z, k) in nats, `(*enumerated, draw, data)`.
        draws: number of draws at once, or None for one without a dimension of its own.
    """
    sizes = log_joint.shape[:-2]
    logits = log_joint.flatten(0, -3).movedim(0, -1)
    index = dist.Categorical(logits=logits).sample()
    drawn = {}
    chosen = dict(zip(range(-len(sizes), 0), torch.unravel_index(index, sizes), strict=True))
    for name in structure.marginalized:
        site = model[name]
        (data_dim,) = (frame.dim for frame in plates(site) if frame.name == PLATE)
        # Enumeration stands left of the draws; the last two dimensions of log_joint are not its.
        position = site["infer"]["_enumerate_dim"] - structure.draw_dim
        event_shape = site["fn"].event_shape
        support = site["value"].reshape(-1, *event_shape)[: sizes[position]]
        shape = [1] * (-structure.draw_dim if draws is not None else -data_dim)
        shape[data_dim] = log_joint.shape[-1]
        if draws is not None:
            shape[structure.draw_dim] = draws
        value = support[chosen[position]].reshape(*shape, *event_shape)
        drawn[name] = {**site, "value": value, "infer": {}}
    return drawn


def _total(sites: Sites, structure: Structure, rows: int, draws: int | None) -> Tensor:
    values = [
        per_datapoint(log_prob(site), site, structure.draw_dim, rows, draws)
        for site in sites.values()
    ]
    return torch.stack(values).sum(0)
