"""A posterior that can be trusted for each datapoint, the cheapest one that passes."""

import math
from contextlib import suppress
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.failed_rows import in_support, sound
from ppvae.diagnostics.marginal_likelihood import tail_length
from ppvae.diagnostics.names import names_of
from ppvae.diagnostics.posterior_refinement.escalation import THOROUGH, Escalation
from ppvae.diagnostics.posterior_refinement.levels import SURPRISE, Ladder
from ppvae.diagnostics.posterior_refinement.refined import Refined, refined_of
from ppvae.diagnostics.posterior_refinement.served import Served
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Structure,
    Unsupported,
    adapted,
    as_one,
    draw_chunks,
    first_line,
    first_rows,
    isolated,
    progress_bar,
    refuse_degenerate,
    refuse_unnormalized,
    refuse_without_latents,
)
from ppvae.refinement import Target, target_of, with_discrete_summed_out

_PRIOR_SHARE, _FEWEST = 0.1, 32  # of the draws, from the prior; they show what the guide misses
_EXACT = 0.1  # nats by which log weights of an exact guide differ, by rounding
_MISSING = 1e-5  # share of P(X) that the guide may miss
_COPIES = 32  # copies of a draw's tensors that a climb keeps


def refine(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
    effort: Escalation = THOROUGH,
    together: bool = False,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> Refined:
    """Find a posterior that can be trusted for each datapoint: the cheapest one that passes.

    Every level gives draws z_k with weights w_k = p(x, z_k) / r(z_k), r their density:

    1. guide: r = q(z|x), where its weights are light and neither draws of the prior nor a search
       for modes find a place that it misses;
    2. modes: r a mixture of the guide with a normal and a Student-t distribution at every mode,
       found by L-BFGS from several starts: the guide's mean and draws, their mirror images, and
       draws of the prior. Covariances are from the curvature there (Tierney and Kadane, "Accurate
       Approximations for Posterior Moments and Marginal Densities", 1986);
    3. adapted: the mixture is fitted to its weighted draws (Cappe, Douc, Guillin, Marin and
       Robert, "Adaptive importance sampling in general mixture classes", 2008); with more than 16
       values of a datapoint that is left out, where the next level is not;
    4. search: the normal of the highest ELBO is added;
    5. annealing: draws of the mixture are moved to the posterior by Hamiltonian trajectories
       (Neal, "Annealed importance sampling", 2001).

    A datapoint leaves at the first level at which the weights' tail has a shape k below 0.5, so
    that they have a finite variance, and the weights are worth a tenth of the draws; from the
    third level on, fresh draws must pass again and agree, since the first ones have been chosen.
    Only what is not trusted is annealed. The weights of every level average to P(X) without bias.
    k is the larger of those of the weights and of the weights times the distance from the
    posterior mean. A datapoint is trusted where k is below the threshold of `pareto_k`, or a
    single draw can have no more than a twentieth of P(X) since the prior is part of the mixture
    and the likelihood bounded, and the weights are worth a twentieth of the draws. There the
    stated errors of log P(X) and of posterior means hold; `python -m benchmarks.trust` measures in
    how many cases, on pairs whose posterior is known. A mode that no start leads to stays unseen.

    Discrete latents that the guide draws beside others are summed out, and so have no draws;
    where they are all it draws, or there are too many, its own draws are the only level.

    Where datapoints share latents, each is refined given one draw of them. With `together`, all
    data are one datapoint: its latents are the shared ones and those of every datapoint, and log
    P(X) is that of all data. Tens of latents are found so, not thousands.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint, at least 21.
        effort: how far to go: `THOROUGH`, or `BRIEF` without the levels that take long.
        together: take all data as one datapoint; of a dataset, the training split.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors, not on the draws that are returned.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        The draws with their weights, and of each datapoint log P(X) and KL[Q(z|X) || P(z|X)] with
        errors, k, effective sample size, level and whether it is trusted: see `Refined`.

    Raises:
        Unsupported: if the pair's structure does not allow importance weights, or it is a
            pseudo-likelihood; the message names the site; with `together`, if the programs do not
            take a dimension left of their plates. A datapoint that the pair fails on
            alone is NaN and not trusted, and a warning names it.
        ValueError: with too few draws, or if the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> refined = refine(pair, digits.test[:3], draws=200)
        >>> refined.draws["z"].shape, bool(refined.table.trusted.all())
        (torch.Size([200, 3, 2]), True)
    """
    tail_length(draws)
    if together:
        pair, data = as_one(pair, data)
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)
    kept = sound(pair, batch, names)
    parts = []
    with (
        isolated(pair, seed),
        progress_bar(total=len(kept.batch[0]), unit=" datapoints", progress=progress) as bar,
    ):
        kept = in_support(pair, kept)
        first, structure = first_rows(pair, kept.batch, 2)
        pair = with_discrete_summed_out(pair, first, structure)
        for chunk, structure, drawn in draw_chunks(pair, kept.batch, draws, memory):
            refuse_without_latents(structure)
            refuse_degenerate(structure)
            refuse_unnormalized(structure)
            part = Served.by_guide(structure.latents, drawn, draws, memory)
            _climb(pair, chunk, structure, part, effort, bar)
            parts.append(part)
            bar.update(len(chunk[0]))
    return refined_of(parts, kept, structure.inner_plates)


def _climb(
    pair: Pair,
    chunk: Batch,
    structure: Structure,
    part: Served,
    effort: Escalation,
    bar: Any,
) -> None:
    """Serve the datapoints of a chunk that the guide does not serve."""
    draws, memory = part.draws, part.memory
    try:
        target = target_of(pair, chunk, structure)
        guide = target.vectors(part.latents)
    except Unsupported as refusal:
        part.refusal = first_line(refusal)
        return
    prior = target.vectors(part.latents)[:0]
    with suppress(Unsupported):
        prior = target.from_prior(max(_FEWEST, int(_PRIOR_SHARE * draws)))
    doubtful, missing = _of_prior(target, prior, part)
    left = (~part.good | doubtful).nonzero()[:, 0]
    if not len(left):
        return
    part.doubted(left)
    at_once = max(1, int(memory / (_COPIES * structure.bytes_per_draw)))
    for rows in left.split(at_once):
        try:
            ladder = Ladder(
                target.of(rows),
                guide[:, rows],
                part.log_weights[:, rows],
                prior[:, rows],
                missing[rows],
                effort,
                draws,
                memory,
                bar.refresh,
            )
            for found in ladder.climb():
                part.take(replace(found, rows=rows[found.rows]), target)
        except Unsupported as refusal:  # such as a guide that takes all datapoints or none
            part.refusal = first_line(refusal)


def _of_prior(target: Target, prior: Tensor, part: Served) -> tuple[Tensor, Tensor]:
    """Tell where draws of the prior have other weights than the guide explains, `(data,)`.

    Returns:
        Where one has another weight than the guide's own, as it cannot where the guide is exact;
        and where those of larger weights together have a share of P(X) that counts.
    """
    if not target.scores or not len(prior):
        return torch.ones(target.rows).bool(), torch.zeros(target.rows).bool()
    with torch.no_grad():
        log_guide, log_prior, log_joint = target.densities(prior)
    excess = log_joint - log_guide - part.log_evidence
    log_likelihood = torch.where(excess < SURPRISE, -math.inf, log_joint - log_prior)
    log_share = log_likelihood.logsumexp(0) - math.log(len(prior)) - part.log_evidence
    return ~(excess.abs().amax(0) < _EXACT), ~(log_share < math.log(_MISSING))
