"""Draws z ~ q(z|x) of any pair and their log densities, vectorized."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import model_draws
from ppvae.engine.batches import Batch
from ppvae.engine.densities import site_kl
from ppvae.engine.draws.drawn import Draws, by_site, stacked, unfolded_draws
from ppvae.engine.draws.folding import folded, one_folded, unfolded
from ppvae.engine.draws.ways import Way
from ppvae.engine.enumerated_sites import one_valued
from ppvae.engine.execution import execute
from ppvae.engine.isolation import seeded
from ppvae.engine.own_draws import latents_unscored, own_draws_alone
from ppvae.engine.pair import Pair
from ppvae.engine.pair_densities import guide_density, model_densities
from ppvae.engine.sites import Sites, by_datapoint, one_draw
from ppvae.engine.structure import Structure


@dataclass(frozen=True)
class Simulation:
    """How the model is simulated beside the guide's draws.

    Args:
        seeds: one for each run, so that the guide's draws do not depend on the simulation.
        way: as the guide's draws, or one by one.
    """

    seeds: Iterator[int]
    way: Way


def draw(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    draws: int,
    *,
    way: Way = Way.AT_ONCE,
    simulation: Simulation | None = None,
    given: Sequence[poutine.Trace] = (),
) -> Draws:
    """Draw z ~ q(z|x) `draws` times for every datapoint and score each draw.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        draws: number of draws per datapoint.
        way: how the draws are run.
        simulation: draw from p(x|z) and p(x, z) too; by default not.
        given: values of latents in place of draws, as `given_traces` returns them. Where the
            guide cannot score them, `log_posterior` is NaN.
    """
    rows = len(batch[0])
    if way is Way.AT_ONCE:
        with pyro.plate(model_draws.DRAWS, draws, dim=structure.draw_dim):
            guide, model = execute(pair, batch, structure, *given)
        scored = score_sites(guide, model, structure, rows, draws, posterior=_scores(guide, given))
        return _simulate(scored, pair, batch, structure, guide, model, draws, way, simulation)
    if way is Way.FOLDED:
        guide, model = execute(pair, folded(batch, draws), structure, *given)
        kl = structure.kl
        repeated = replace(structure, kl=None if kl is None else kl.repeat(draws))
        scored = unfolded_draws(
            score_sites(
                guide, model, repeated, draws * rows, None, posterior=_scores(guide, given)
            ),
            draws,
        )
        return _simulate(scored, pair, batch, structure, guide, model, draws, way, simulation)
    runs = []
    for index in range(draws):
        one = given[index : index + 1]
        guide, model = execute(pair, batch, structure, *one)
        scored = score_sites(guide, model, structure, rows, None, posterior=_scores(guide, one))
        runs.append(_simulate(scored, pair, batch, structure, guide, model, 1, way, simulation))
    return stacked(runs)


def _scores(guide: Sites, given: Sequence[poutine.Trace]) -> bool:
    """Tell whether the guide can score its values, as it can its own draws."""
    return not (given and latents_unscored(guide))


def draw_latents(pair: Pair, batch: Batch, structure: Structure) -> Sites:
    """Draw z ~ q(z|x) once for every datapoint, and summed-out sites k ~ p(k | x, z)."""
    guide, model = execute(pair, batch, structure)
    return latent_sites(guide, model, structure, len(batch[0]), None)


def score(
    pair: Pair, batch: Batch, structure: Structure, latents: Sites
) -> tuple[Draws, dict[str, str]]:
    """Score given latents in place of draws: densities `(1, data)`.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        latents: sites of a run without a dimension for draws, whose values are taken.

    Returns:
        The scores, and the sites at which the guide can score its own draws alone, with the
        reason; if there are any, `log_posterior` is NaN.
    """
    given = poutine.Trace()
    for name, site in latents.items():
        given.add_node(name, **{**site, "infer": {}})
    guide, model = execute(pair, batch, structure, given)
    unscored = own_draws_alone(guide)
    return score_sites(
        guide, model, structure, len(batch[0]), None, posterior=not unscored
    ), unscored


def _simulate(
    scored: Draws,
    pair: Pair,
    batch: Batch,
    structure: Structure,
    guide: Sites,
    model: Sites,
    draws: int,
    way: Way,
    simulation: Simulation | None,
) -> Draws:
    """Add draws from p(x|z) at the guide's z, and from p(x, z)."""
    if simulation is None:
        return scored
    rows, at_once = len(batch[0]), draws if way is Way.AT_ONCE else None
    with seeded(next(simulation.seeds)):
        repeats = draws if way is Way.FOLDED else 1
        values = latent_sites(guide, model, structure, repeats * rows, at_once)
        if way is Way.ONE_BY_ONE or simulation.way is way:
            batch = folded(batch, draws) if way is Way.FOLDED else batch
            predicted = model_draws.simulate(pair, batch, structure, at_once, values)
            simulated = model_draws.simulate(pair, batch, structure, at_once)
            if way is Way.FOLDED:
                predicted, simulated = unfolded(predicted, draws), unfolded(simulated, draws)
        else:
            at_draws, anew = [], []
            for index in range(draws):
                if way is Way.AT_ONCE:
                    given = one_draw(values, structure.draw_dim, index).nodes
                else:
                    given = one_folded(values, rows, index).nodes
                at_draws.append(model_draws.simulate(pair, batch, structure, None, given))
                anew.append(model_draws.simulate(pair, batch, structure, None))
            predicted, simulated = by_site(at_draws), by_site(anew)
    return replace(
        scored,
        predicted={name: predicted[name] for name in structure.observations},
        simulated={
            name: simulated[name] for name in (*structure.latents, *structure.observations)
        },
    )


def latent_sites(
    guide: Sites, model: Sites, structure: Structure, rows: int, draws: int | None
) -> Sites:
    """Return the guide's sites, and draws from p(k | x, z) of those that were summed out."""
    if not structure.marginalized:
        return dict(guide)
    drawn = model_draws.draw_marginalized(model, structure, rows, draws)
    return one_valued(guide) | drawn


def score_sites(
    guide: Sites,
    model: Sites,
    structure: Structure,
    rows: int,
    draws: int | None,
    *,
    posterior: bool = True,
) -> Draws:
    """Read the log densities of a run that has been made.

    Args:
        guide: the guide's sites.
        model: the model's sites, at the guide's draws.
        structure: what `structure_of` said of the pair.
        rows: number of datapoints.
        draws: number of draws at once, or None for one without a dimension of its own.
        posterior: score the guide; else `log_posterior` is NaN.
    """
    draw_dim = structure.draw_dim
    log_prior, log_joint, log_likelihoods = model_densities(model, structure, rows, draws)
    kl = structure.kl
    if kl is not None:
        kl = kl.expand_as(log_joint)
    elif structure.ordered:
        terms = [
            site_kl(guide[name], model[name], draw_dim, draws, rows) for name in structure.latents
        ]
        if all(term is not None for term in terms):
            kl = torch.stack([term for term in terms if term is not None]).sum(0)
    return Draws(
        log_prior=log_prior,
        log_likelihood=log_joint - log_prior,
        log_posterior=(
            guide_density(guide, structure, rows, draws)
            if posterior
            else torch.full_like(log_joint, math.nan)
        ),
        log_likelihoods=log_likelihoods,
        kl=kl,
        latents={
            name: _with_draws(
                by_datapoint(guide[name]["value"], guide[name], draw_dim if draws else None), draws
            )
            for name in structure.latents
        },
        predicted={},
        simulated={},
    )


def _with_draws(value: Tensor, draws: int | None) -> Tensor:
    return value.unsqueeze(0) if draws is None else value
