"""The search for the best posterior of each datapoint, and fresh draws of what it found."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ppvae.engine import (
    Batch,
    Pair,
    Structure,
    Unsupported,
    Way,
    draw,
    draw_chunks,
    first_line,
    model_vectorizable,
    refuse_degenerate,
    refuse_unnormalized,
    refuse_without_latents,
    seeded,
    vectorizable,
)
from ppvae.refinement.approximations import Approximation, Values
from ppvae.refinement.elbo_maximization import STAGES, log_joint, maximize_elbo
from ppvae.refinement.joint_densities import JointDensity, PlainDensity
from ppvae.refinement.joint_normal import JointNormal, normal_like_guide, uncorrelated_normal
from ppvae.refinement.mixture import Mixture, joined
from ppvae.refinement.own_family import OwnFamily, guide_family
from ppvae.refinement.tiling import COMPARED, Tiling
from ppvae.refinement.warm_start import at_mode, fitted_to

_KEPT = 4  # copies of a draw's tensors, while its gradient is computed
_TRIANGLES = 100  # bytes of a normal's correlations: a dozen copies, gradients and moments among
_MOMENTS = 64  # draws of the guide, from which the first normal is computed
_NUMBER = 40  # bytes of one number of a draw, in what computes the approximation's density
_DENSITIES = 400  # bytes of the log densities of a draw

A = TypeVar("A", bound=Approximation)


@dataclass(frozen=True)
class Search:
    """How the best posteriors are searched for and evaluated.

    Args:
        normal: search for the best normal of all latents jointly too.
        draws: number of draws per datapoint that evaluate each posterior.
        steps: of the optimization.
        particles: draws per datapoint and step.
        learning_rate: the first step size, in units of the posterior's width.
        memory: bound in bytes on the intermediate tensors.
        tolerance: rise of the ELBO over a stage, in nats, up to which a datapoint has arrived.

    Raises:
        ValueError: if one of them is too small.
    """

    normal: bool
    draws: int
    steps: int
    particles: int
    learning_rate: float
    memory: int
    tolerance: float = 0.05

    def __post_init__(self) -> None:
        least = {"draws": 2, "steps": 2 * STAGES, "particles": 1, "memory": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    @property
    def gradients(self) -> int:
        """Draws per datapoint of which a gradient is computed, at most."""
        return self.steps * self.particles * (1 + self.normal)

    @property
    def values(self) -> int:
        """Draws per datapoint whose density is computed, about."""
        return self.draws * (3 + 2 * self.normal)


@dataclass(frozen=True)
class Found:
    """The best posteriors of some datapoints, by fresh draws.

    Args:
        mixture: log densities of the draws of q, q* and n*; or of n* alone, where the guide's own
            family could not be searched.
        rises: of q* and of n*, or of n* alone, what each draw gained over the stage before the
            last, `(draw, data)`, at the same random numbers.
        refusal: why the guide's own family could not be searched; "" where it was.
        guide_terms: log p(x, z) - log q(z) of draws of q, `(draw, data)`, where the mixture has
            none of them.
    """

    mixture: Mixture
    rises: list[Tensor]
    refusal: str = ""
    guide_terms: Tensor | None = None


def search_chunks(
    search: Search, pair: Pair, batch: Batch, tiles: Tiling | None = None
) -> Iterator[tuple[Batch, Structure, bool]]:
    """Cut the data so that a step stays within the memory; tell whether draws are vectorized.

    Args:
        search: how to search.
        pair: the model/guide pair.
        batch: all datapoints.
        tiles: what `tiles_for` gives; chunks are larger where the densities are code in tiles.

    Raises:
        Unsupported: if the pair's structure does not allow it.
    """
    kept = _KEPT * search.particles
    few = max(1, search.memory // kept)
    first, structure, _ = next(iter(draw_chunks(pair, batch, 1, few)))
    refuse_without_latents(structure)
    refuse_degenerate(structure)
    refuse_unnormalized(structure)
    start, _ = _start(search, pair, first, structure, draws=2)  # for its size alone
    values = start.rsample(1).values()
    numbers = sum(value.numel() for value in values) / start.latents.rows
    # A guide that scores its own draws alone does not tell whether the model is vectorized.
    check = vectorizable if isinstance(start, OwnFamily) else model_vectorizable
    vectorized = check(pair, first, structure)
    at_once = tiles is not None and vectorized and tiles.prepare(pair, first, structure)
    step = kept * structure.bytes_per_draw
    if at_once:  # then the pair itself runs for a comparison alone
        step = max(kept * _NUMBER * numbers, _KEPT * COMPARED * structure.bytes_per_draw)
    step += _DENSITIES * search.draws
    share = structure.bytes_per_draw / (step + search.normal * _TRIANGLES * numbers**2)
    for chunk, here, _ in draw_chunks(pair, batch, 1, max(1, int(search.memory * share))):
        yield chunk, here, vectorized


def search_chunk(
    search: Search,
    pair: Pair,
    chunk: Batch,
    structure: Structure,
    vectorized: bool,
    draw_seeds: Iterator[int],
    tiles: Tiling | None = None,
) -> Found:
    """Search for q* and n*, and take fresh draws of q, q* and n*.

    Where the guide's own family cannot be searched, n* alone is, and q is scored at its own draws.

    Args:
        search: how to search.
        pair: the model/guide pair.
        chunk: some datapoints.
        structure: what `structure_of` said of the pair.
        vectorized: run all draws at once.
        draw_seeds: seeds of the draws.
        tiles: what `tiles_for` gives, so that the densities are code where that pays.

    Raises:
        Unsupported: if the guide's own family cannot be searched, nor n*.
    """
    start, refusal = _start(search, pair, chunk, structure, draws=_MOMENTS)

    def density(values: Values) -> Tensor:
        return log_joint(pair, chunk, structure, start.latents.sites, values, vectorized)

    target: JointDensity = PlainDensity(density)
    if tiles is not None and vectorized:
        target = tiles.density(chunk, start, target)
    searches: list[list[Approximation]] = []
    if isinstance(start, JointNormal):
        searches.append([*_stages(search, at_mode(start, target), target)])
    elif search.normal:
        normal = at_mode(uncorrelated_normal(start), target)
        searches.append([*_stages(search, fitted_to(normal, start, target), target)])
        searches.append([*_stages(search, normal, target)])
    else:
        searches.append([*_stages(search, start, target)])
    repeats = max(1, int(search.memory / (structure.bytes_per_draw * start.latents.rows)))
    guide = [] if refusal else [start]
    late, early, terms = [], [], []
    at_once = bool(refusal) and vectorizable(pair, chunk, structure)
    way = Way.AT_ONCE if at_once else Way.ONE_BY_ONE
    for begin in range(0, search.draws, repeats):
        count = min(repeats, search.draws - begin)
        if refusal:
            with seeded(next(draw_seeds)):
                scored = draw(pair, chunk, structure, count, way=way)
            terms.append(scored.log_weights.double())
        seeds = [next(draw_seeds) for _ in range(len(guide) + len(searches))]
        proposals = [*guide, *(found[-1] for found in searches)]
        late.append(_draws(proposals, target, count, seeds))
        early.append(
            [
                _draws([found[-2]], target, count, [seed])
                for found, seed in zip(searches, seeds[len(guide) :], strict=True)
            ]
        )
    last = joined(late)
    first = [joined(parts) for parts in zip(*early, strict=True)]
    rises = [last.terms(i) - one.terms(0) for i, one in enumerate(first, start=len(guide))]
    return Found(last, rises, refusal, torch.cat(terms) if terms else None)


def _start(
    search: Search, pair: Pair, batch: Batch, structure: Structure, draws: int
) -> tuple[OwnFamily | JointNormal, str]:
    """Return the guide's own family; or a normal like the guide, and why it is not the family."""
    try:
        return guide_family(pair, batch, structure), ""
    except Unsupported as refusal:
        if search.normal:
            with suppress(Unsupported):
                return normal_like_guide(pair, batch, structure, draws), first_line(refusal)
        raise


def _stages(search: Search, start: A, density: JointDensity) -> list[A]:
    return list(
        maximize_elbo(
            start,
            density,
            steps=search.steps,
            particles=search.particles,
            learning_rate=search.learning_rate,
            tolerance=search.tolerance,
        )
    )


def _draws(
    proposals: Sequence[Approximation],
    density: JointDensity,
    draws: int,
    seeds: Sequence[int],
) -> Mixture:
    """Draw from each proposal, with a seed of its own, and score with log p(x, z) and log q."""
    log_joints, log_densities = [], []
    for proposal, seed in zip(proposals, seeds, strict=True):
        with seeded(seed):
            values = proposal.rsample(draws)
        log_joints.append(density(values).double())
        log_densities.append(torch.stack([other.log_prob(values) for other in proposals]).double())
    return Mixture(torch.stack(log_joints), torch.stack(log_densities, 1))
