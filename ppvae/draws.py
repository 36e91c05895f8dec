"""Draws z ~ q(z|x) of any pair and their log densities, vectorised and in bounded memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.batches import Batch, chunks
from ppvae.traces import (
    Pair,
    Site,
    Sites,
    Structure,
    closed_form_kl,
    execute,
    log_prob,
    per_datapoint,
    plates,
    rows_first,
    structure_of,
)

_PLATE = "ppvae draws"  # a name that no pair has


@dataclass(frozen=True)
class Draws:
    """Log densities of draws z ~ q(z|x), in nats, `(draw, data)` each.

    Args:
        log_prior: log p(z).
        log_likelihood: log p(x|z).
        log_posterior: log q(z|x).
        kl: closed-form KL[q(z|x) || p(z)] as seen from each draw, or None without closed form.
        latents: the draws, `(draw, data, ...)`, by site.
    """

    log_prior: Tensor
    log_likelihood: Tensor
    log_posterior: Tensor
    kl: Tensor | None
    latents: dict[str, Tensor]

    @property
    def log_weights(self) -> Tensor:
        """Return log p(x, z) - log q(z|x), `(draw, data)`."""
        return self.log_prior + self.log_likelihood - self.log_posterior


def draw(
    pair: Pair, batch: Batch, structure: Structure, draws: int, *, vectorized: bool = True
) -> Draws:
    """Draw z ~ q(z|x) `draws` times for every datapoint and score each draw.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        draws: number of draws per datapoint.
        vectorized: run all draws at once, in a plate left of all others; or one after the other,
            for networks that take a single batch dimension.
    """
    if vectorized:
        with pyro.plate(_PLATE, draws, dim=structure.draw_dim):
            guide, model = execute(pair, batch, structure)
        return _score(guide, model, structure, len(batch[0]), draws)
    runs = [
        _score(*execute(pair, batch, structure), structure, len(batch[0]), None)
        for _ in range(draws)
    ]
    return _stack(runs)


def vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether a pair scores two draws at once as it scores each of them alone.

    A network that was written for one batch dimension may fail on a second, or worse, return
    something of a wrong but fitting shape.
    """
    try:
        with pyro.plate(_PLATE, 2, dim=structure.draw_dim):
            guide, model = execute(pair, batch, structure)
        together = _score(guide, model, structure, len(batch[0]), 2).log_weights
    except (RuntimeError, ValueError, IndexError, TypeError):
        return False
    for index in range(2):
        replayed = poutine.Trace()
        for name, site in guide.items():
            value = _unvectorized(site, structure.draw_dim)[index]
            depth = max(-frame.dim for frame in plates(site) if frame.dim != structure.draw_dim)
            while value.dim() > depth + site["fn"].event_dim and value.shape[0] == 1:
                value = value.squeeze(0)  # a plate of another site stood there
            replayed.add_node(name, **{**site, "value": value})
        alone = _score(
            *execute(pair, batch, structure, replayed), structure, len(batch[0]), None
        ).log_weights[0]
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        if not torch.allclose(together[index], alone, rtol=tolerance, atol=tolerance):
            return False
    return True


def draw_chunks(
    pair: Pair, batch: Batch, draws: int, memory: int
) -> Iterator[tuple[Batch, Structure, Iterator[Draws]]]:
    """Cut data and draws into chunks that stay within `memory`, and draw each when asked for it.

    Yields, for every chunk of the data in order: the chunk, its structure, and an iterator over
    its draws, chunk by chunk.

    Args:
        pair: the model/guide pair.
        batch: all datapoints.
        draws: number of draws per datapoint.
        memory: a bound in bytes on the intermediate tensors of one chunk.

    Raises:
        ValueError: if `draws` or `memory` is not positive, and as `structure_of` does.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if memory < 1:
        raise ValueError(f"memory must be at least 1 byte, got {memory}")
    look, structure = _look(pair, batch, 256)
    vectorized = vectorizable(pair, look, structure)
    at_once = max(1, int(memory / structure.bytes_per_draw))
    # The guide's network runs once a chunk of draws, whatever their number: from 64 draws on its
    # share is small, so the rest of the memory goes to datapoints. The log densities of all draws
    # of a chunk of datapoints are kept until the next one.
    together = min(draws, 64) if vectorized else 1
    rows = max(1, min(at_once // together, memory // (64 * draws)))
    if rows < len(batch[0]):
        first, few = _look(pair, batch, rows)  # what a pair makes once weighs more on few rows
        rows, at_once = len(first[0]), max(1, int(memory / few.bytes_per_draw))
    repeats = max(1, at_once // min(rows, len(batch[0]))) if vectorized else 1

    def run_draws(chunk: Batch, structure: Structure) -> Iterator[Draws]:
        for start in range(0, draws, repeats):
            count = min(repeats, draws - start)
            yield draw(pair, chunk, structure, count, vectorized=vectorized)

    for chunk in chunks(batch, rows):
        seen = len(chunk[0]) == len(look[0]) == len(batch[0])
        here = structure if seen else structure_of(pair, chunk)
        yield chunk, here, run_draws(chunk, here)


def _look(pair: Pair, batch: Batch, rows: int) -> tuple[Batch, Structure]:
    """Inspect a pair on its first rows, or on all if a plate of fixed size does not take fewer."""
    first = tuple(tensor[:rows] for tensor in batch)
    try:
        return first, structure_of(pair, first)
    except ValueError:
        return batch, structure_of(pair, batch)


def _score(
    guide: Sites, model: Sites, structure: Structure, rows: int, draws: int | None
) -> Draws:
    draw_dim = structure.draw_dim

    def total(sites: list[Site]) -> Tensor:
        values = [per_datapoint(log_prob(site), site, draw_dim, rows, draws) for site in sites]
        if draws is not None and not structure.marginalised and any(v.dim() > 2 for v in values):
            raise ValueError("a log density has dimensions left of the draws")
        return sum(values[1:], start=values[0])

    log_prior = total([site for site in model.values() if not site["is_observed"]])
    log_joint = log_prior + total([model[name] for name in structure.observed])
    dims = [model[name]["infer"].get("_enumerate_dim") for name in structure.marginalised]
    if len(set(dims)) < len(dims):
        names = ", ".join(map(repr, structure.marginalised))
        raise ValueError(
            f"the summed-out sites {names} share a dimension "
            "(pyro.markov), which is not supported; write the loop with a plain `range`"
        )
    if structure.marginalised:
        enumerated = list(range(log_joint.dim() - 2))
        log_prior = log_prior.expand_as(log_joint).logsumexp(enumerated)
        log_joint = log_joint.logsumexp(enumerated)
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
        log_posterior=total(list(guide.values())),
        kl=kl,
        latents={
            name: rows_first(
                _unvectorized(guide[name], draw_dim if draws is not None else None),
                guide[name],
            ).movedim(1, 0)
            for name in structure.latents
        },
    )


def _unvectorized(site: Site, draw_dim: int | None) -> Tensor:
    """Return a site's value with the draws first: `(draw, *batch, *event)`."""
    value: Tensor = site["value"]
    if draw_dim is None:
        return value.unsqueeze(0)
    position = value.dim() - site["fn"].event_dim + draw_dim
    if position < 0:
        raise ValueError("a latent has no dimension for the draws")
    return value.movedim(position, 0)


def _stack(runs: list[Draws]) -> Draws:
    kls = [run.kl for run in runs if run.kl is not None]
    return Draws(
        log_prior=torch.cat([run.log_prior for run in runs]),
        log_likelihood=torch.cat([run.log_likelihood for run in runs]),
        log_posterior=torch.cat([run.log_posterior for run in runs]),
        kl=torch.cat(kls) if len(kls) == len(runs) else None,
        latents={name: torch.cat([run.latents[name] for run in runs]) for name in runs[0].latents},
    )
