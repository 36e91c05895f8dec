"""Draws z ~ q(z|x) of any pair and their log densities, vectorized."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import model_draws
from ppvae.engine.batches import Batch
from ppvae.engine.execution import execute
from ppvae.engine.isolation import seeded
from ppvae.engine.pair import Pair
from ppvae.engine.sites import (
    Site,
    Sites,
    by_datapoint,
    closed_form_kl,
    log_prob,
    one_draw,
    per_datapoint,
)
from ppvae.engine.structure import Structure


@dataclass(frozen=True)
class Draws:
    """Log densities of draws z ~ q(z|x), in nats, `(draw, data)` each.

    Args:
        log_prior: log p(z).
        log_likelihood: log p(x|z).
        log_posterior: log q(z|x).
        log_likelihoods: log p(x_i|z) of each observed site, other observations left aside.
        kl: closed-form KL[q(z|x) || p(z)] as seen from each draw, or None without closed form.
        latents: the draws, `(draw, data, *inner plates, *event)`, by site.
        predicted: x ~ p(x|z) at these draws, as `latents`, by observed site; empty if not asked.
        simulated: z ~ p(z) and x ~ p(x|z), independent of these draws, likewise.
    """

    log_prior: Tensor
    log_likelihood: Tensor
    log_posterior: Tensor
    log_likelihoods: dict[str, Tensor]
    kl: Tensor | None
    latents: dict[str, Tensor]
    predicted: dict[str, Tensor]
    simulated: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log q(z|x), `(draw, data)`."""
        return self.log_prior + self.log_likelihood - self.log_posterior

    def tensors(self) -> list[Tensor]:
        """Return all that was measured, and the latents; predictions and simulations apart."""
        return [
            *(self.log_prior, self.log_likelihood, self.log_posterior),
            *self.log_likelihoods.values(),
            *self.latents.values(),
            *([] if self.kl is None else [self.kl]),
        ]


@dataclass(frozen=True)
class Simulation:
    """How the model is drawn from next to the scoring of the guide's draws.

    Args:
        seeds: one for each run, so that the guide's draws do not depend on the simulation.
        vectorized: run all draws at once.
    """

    seeds: Iterator[int]
    vectorized: bool


def draw(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    draws: int,
    *,
    vectorized: bool = True,
    simulation: Simulation | None = None,
) -> Draws:
    """Draw z ~ q(z|x) `draws` times for every datapoint and score each draw.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        draws: number of draws per datapoint.
        vectorized: run all draws at once, in a plate left of all others; or one after the other,
            for networks that take a single batch dimension.
        simulation: draw from p(x|z) and p(x, z) too; by default not.
    """
    rows = len(batch[0])
    if vectorized:
        with pyro.plate(model_draws.DRAWS, draws, dim=structure.draw_dim):
            guide, model = execute(pair, batch, structure)
        scored = _score(guide, model, structure, rows, draws)
        return _simulate(scored, pair, batch, structure, guide, model, draws, simulation)
    runs = []
    for _ in range(draws):
        guide, model = execute(pair, batch, structure)
        scored = _score(guide, model, structure, rows, None)
        runs.append(_simulate(scored, pair, batch, structure, guide, model, None, simulation))
    return _stack(runs)


def draw_latents(pair: Pair, batch: Batch, structure: Structure) -> Sites:
    """Draw z ~ q(z|x) once for every datapoint, and summed-out sites k ~ p(k | x, z)."""
    guide, model = execute(pair, batch, structure)
    return _latents(guide, model, structure, len(batch[0]), None)


def score(pair: Pair, batch: Batch, structure: Structure, latents: Sites) -> Draws:
    """Score given latents in place of draws: densities `(1, data)`.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        latents: sites of a run without a dimension for draws, whose values are taken.
    """
    given = poutine.Trace()
    for name, site in latents.items():
        given.add_node(name, **{**site, "infer": {}})
    guide, model = execute(pair, batch, structure, given)
    return _score(guide, model, structure, len(batch[0]), None)


def vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether a pair scores two draws at once as it scores each of them alone.

    A network that was written for one batch dimension may fail on a second, or worse, return
    something of a wrong but fitting shape.
    """
    try:
        with pyro.plate(model_draws.DRAWS, 2, dim=structure.draw_dim):
            guide, model = execute(pair, batch, structure)
        together = _score(guide, model, structure, len(batch[0]), 2).log_weights
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    for index in range(2):
        replayed = one_draw(guide, structure.draw_dim, index)
        runs = execute(pair, batch, structure, replayed)
        try:
            alone = _score(*runs, structure, len(batch[0]), None).log_weights[0]
        except NotImplementedError:
            return False  # a guide that can score its own draws alone, as some flows
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        if not torch.allclose(together[index], alone, rtol=tolerance, atol=tolerance):
            return False
    return True


def _simulate(
    scored: Draws,
    pair: Pair,
    batch: Batch,
    structure: Structure,
    guide: Sites,
    model: Sites,
    draws: int | None,
    simulation: Simulation | None,
) -> Draws:
    """Add draws from p(x|z) at the guide's z, and from p(x, z)."""
    if simulation is None:
        return scored
    with seeded(next(simulation.seeds)):
        values = _latents(guide, model, structure, len(batch[0]), draws)
        if draws is None or simulation.vectorized:
            predicted = model_draws.simulate(pair, batch, structure, draws, values)
            simulated = model_draws.simulate(pair, batch, structure, draws)
        else:
            at_draws, anew = [], []
            for index in range(draws):
                given = one_draw(values, structure.draw_dim, index).nodes
                at_draws.append(model_draws.simulate(pair, batch, structure, None, given))
                anew.append(model_draws.simulate(pair, batch, structure, None))
            predicted, simulated = _by_site(at_draws), _by_site(anew)
    return replace(
        scored,
        predicted={name: predicted[name] for name in structure.observations},
        simulated={
            name: simulated[name] for name in (*structure.latents, *structure.observations)
        },
    )


def _latents(
    guide: Sites, model: Sites, structure: Structure, rows: int, draws: int | None
) -> Sites:
    """Return the guide's sites, and draws from p(k | x, z) of those that were summed out."""
    if not structure.marginalized:
        return dict(guide)
    log_prior, log_likelihoods = _densities(model, structure, rows, draws)
    log_joint = sum(log_likelihoods.values(), start=log_prior)
    return guide | model_draws.draw_marginalized(model, structure, log_joint, draws)


def _densities(
    model: Sites, structure: Structure, rows: int, draws: int | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return log p(z) and log p(x_i|z) of each observed site: `(*enumerated, draw, data)`."""
    prior = [site for site in model.values() if not site["is_observed"]]
    observed = {name: [model[name]] for name in structure.observed}
    return _total(prior, structure, rows, draws), {
        name: _total(sites, structure, rows, draws) for name, sites in observed.items()
    }


def _total(sites: list[Site], structure: Structure, rows: int, draws: int | None) -> Tensor:
    values = [
        per_datapoint(log_prob(site), site, structure.draw_dim, rows, draws) for site in sites
    ]
    if draws is not None and not structure.marginalized and any(v.dim() > 2 for v in values):
        raise ValueError("a log density has dimensions left of the draws")
    return sum(values[1:], start=values[0])


def model_densities(
    model: Sites, structure: Structure, rows: int, draws: int | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Read log p(z), log p(x, z) and log p(x_i|z) of each observed site, discrete ones summed out.

    Args:
        model: the model's sites, enumerated where some are to be summed out.
        structure: what `structure_of` said of the pair.
        rows: number of datapoints.
        draws: number of draws at once, or None for one without a dimension of its own.

    Returns:
        In nats, `(draw, data)` each.
    """
    log_prior, log_likelihoods = _densities(model, structure, rows, draws)
    observed = list(log_likelihoods.values())
    log_joint = log_prior + sum(observed[1:], start=observed[0])
    dims = [model[name]["infer"].get("_enumerate_dim") for name in structure.marginalized]
    if len(set(dims)) < len(dims):
        names = ", ".join(map(repr, structure.marginalized))
        raise ValueError(
            f"the summed-out sites {names} share a dimension "
            "(pyro.markov), which is not supported; write the loop with a plain `range`"
        )
    if structure.marginalized:
        joints = {name: log_prior + values for name, values in log_likelihoods.items()}
        log_joint, log_prior = _summed_out(log_joint), _summed_out(log_prior)
        log_likelihoods = {
            name: _summed_out(values) - log_prior for name, values in joints.items()
        }
    return log_prior, log_joint, log_likelihoods


def _score(
    guide: Sites, model: Sites, structure: Structure, rows: int, draws: int | None
) -> Draws:
    draw_dim = structure.draw_dim
    log_prior, log_joint, log_likelihoods = model_densities(model, structure, rows, draws)
    kl = structure.kl
    if kl is not None:
        kl = kl.expand_as(log_joint)
    elif structure.ordered:
        terms = [
            closed_form_kl(guide[name], model[name], draw_dim, draws, rows)
            for name in structure.latents
        ]
        if all(term is not None for term in terms):
            kl = torch.stack([term for term in terms if term is not None]).sum(0)
    return Draws(
        log_prior=log_prior,
        log_likelihood=log_joint - log_prior,
        log_posterior=_total(list(guide.values()), structure, rows, draws),
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


def _summed_out(values: Tensor) -> Tensor:
    """Sum the enumerated sites, left of draws and data, out of a log density."""
    return values.logsumexp(list(range(values.dim() - 2)))


def _with_draws(value: Tensor, draws: int | None) -> Tensor:
    return value.unsqueeze(0) if draws is None else value


def _by_site(runs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([run[name] for run in runs]) for name in runs[0]}


def _stack(runs: list[Draws]) -> Draws:
    kls = [run.kl for run in runs if run.kl is not None]
    return Draws(
        log_prior=torch.cat([run.log_prior for run in runs]),
        log_likelihood=torch.cat([run.log_likelihood for run in runs]),
        log_posterior=torch.cat([run.log_posterior for run in runs]),
        kl=torch.cat(kls) if len(kls) == len(runs) else None,
        log_likelihoods=_by_site([run.log_likelihoods for run in runs]),
        latents=_by_site([run.latents for run in runs]),
        predicted=_by_site([run.predicted for run in runs]),
        simulated=_by_site([run.simulated for run in runs]),
    )
