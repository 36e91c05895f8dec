"""Draws from the model of any pair: z ~ p(z) and x ~ p(x|z), in place of its observations."""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.enumeration.runs import (
    Given,
    enumerating,
    enumeration,
    free_dim,
    one_value_each,
    valued,
)
from ppvae.engine.errors import Unsupported, first_line
from ppvae.engine.execution import with_enumerated
from ppvae.engine.pair import Pair
from ppvae.engine.pair_densities import at_once, factors, joint_densities
from ppvae.engine.sites import PLATE, Site, Sites, by_datapoint, plates, sample_sites
from ppvae.engine.structure import Structure
from ppvae.engine.tracing import SiteReached, traced

DRAWS = "ppvae draws"
"""The name of the plate over draws: one that no pair has."""


class SimulationMessenger(UnconditionMessenger):  # type: ignore[misc]
    """Draws a model's observed sites too; deterministic sites and factors stay as they are.

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
        Unsupported: if a distribution cannot be drawn from.
        Exception: what the model raises, with a note of the data's shape.
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

    The observation of a site is kept in its `infer` as `obs`. The arguments are those of
    `simulate`.

    Raises:
        Unsupported: if a distribution cannot be drawn from.
        Exception: what the model raises, with a note of the data's shape.
    """
    given = poutine.Trace()
    for name, site in values.items():
        given.add_node(name, **{**site, "is_observed": False})
    around: Any = nullcontext()
    if draws is not None:
        around = pyro.plate(DRAWS, draws, dim=structure.draw_dim)
    reached = SiteReached()
    try:
        with around, reached:
            if structure.enumerated:
                return _enumerated_simulation(pair, batch, structure, given)
            model = poutine.replay(SimulationMessenger()(pair.model), trace=given)
            return sample_sites(traced(model, batch, "the model was simulated"))
    except NotImplementedError as error:
        if not reached.has_no_sampler():
            raise
        raise Unsupported(
            f"the model cannot be drawn from ({first_line(error)}), which simulations need; "
            "`evidence`, `ais` and `to_arviz(..., predictive=False)` do not"
        ) from error


def _enumerated_simulation(
    pair: Pair, batch: Batch, structure: Structure, given: poutine.Trace
) -> Sites:
    """Simulate every value of the enumerated sites, and keep the one that is given or drawn."""
    whole = with_enumerated(pair, batch, structure, given)
    model = enumerating(
        SimulationMessenger()(pair.model), lambda site: site["name"] in structure.enumerated
    )
    with enumeration(free_dim(structure.draw_dim), whole.nodes.values()):
        program = Given(whole.nodes, repeated=False)(model)
        sites = sample_sites(traced(program, batch, "the model was simulated"))
    chosen = {
        name: given.nodes[name]["value"] for name in structure.enumerated if name in given.nodes
    }
    return one_value_each(sites, structure.draw_dim, chosen or None)


def draw_marginalized(model: Sites, structure: Structure, rows: int, draws: int | None) -> Sites:
    """Draw the summed-out discrete sites from p(k | x, z), exactly.

    Args:
        model: the model's sites, enumerated.
        structure: names the sites.
        rows: number of datapoints.
        draws: number of draws at once, or None for one without a dimension of its own.

    Raises:
        Unsupported: as `model_densities` says.
    """
    if not at_once(model, structure):
        places = factors(model, structure, draws).draw(structure.marginalized)
        return {name: valued(model[name], index) for name, index in places.items()}
    log_prior, log_likelihoods = joint_densities(model, structure, rows, draws)
    log_joint = sum(log_likelihoods.values(), start=log_prior)
    sizes = log_joint.shape[:-2]
    logits = log_joint.flatten(0, -3).movedim(0, -1)
    index = dist.Categorical(logits=logits).sample()
    drawn = {}
    indices = dict(zip(range(-len(sizes), 0), torch.unravel_index(index, sizes), strict=True))
    for name in structure.marginalized:
        site = model[name]
        (data_dim,) = (frame.dim for frame in plates(site) if frame.name == PLATE)
        # Enumerated dimensions are left of the draws: not the last two of log_joint.
        position = site["infer"]["_enumerate_dim"] - structure.draw_dim
        event_shape = site["fn"].event_shape
        support = site["value"].reshape(-1, *event_shape)[: sizes[position]]
        shape = [1] * (-structure.draw_dim if draws is not None else -data_dim)
        shape[data_dim] = log_joint.shape[-1]
        if draws is not None:
            shape[structure.draw_dim] = draws
        value = support[indices[position]].reshape(*shape, *event_shape)
        drawn[name] = {**site, "value": value, "infer": {}}
    return drawn
