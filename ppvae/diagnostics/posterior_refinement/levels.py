"""Better and better weighted draws of the datapoints that the level before did not serve."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.diagnostics.posterior_refinement.escalation import Escalation
from ppvae.diagnostics.posterior_refinement.weighted_draws import assess
from ppvae.refinement import (
    Components,
    Densities,
    Modes,
    Target,
    find_modes,
    fit_normal,
    joined,
    tempered,
)

LEVELS = ("guide", "modes", "adapted", "search", "annealing")
"""The levels, the cheapest first."""

_GUIDE_SHARE, _PRIOR_SHARE = 0.1, 0.1  # of a mixture's draws
SURPRISE = 3.0
"""Nats by which log p(x, z) - log q(z|x) at a place may exceed log P(X): elsewhere the guide may
miss mass there."""

_OTHERS = 6  # normals that are added where adaptation does not suffice
_OTHERS_SHARE, _OTHERS_WIDTH = 0.5, 0.5


@dataclass(frozen=True)
class Weighted:
    """Weighted draws of some datapoints.

    Args:
        level: the place in `LEVELS` of what they are drawn from.
        rows: which datapoints of the target.
        vectors: the draws, `(draw, data, value)`.
        log_weights: log p(x, u) - log r(u), r the density of the draws, `(draw, data)`.
        log_bound: a bound of the log weights, `(data,)`, where one is known.
    """

    level: int
    rows: Tensor
    vectors: Tensor
    log_weights: Tensor
    log_bound: Tensor | None = None


@dataclass
class Ladder:
    """The levels above the guide, for some datapoints.

    Args:
        target: log p(x, u) of these datapoints.
        guide: draws of the guide, `(draw, data, value)`.
        log_weights: their log weights, `(draw, data)`.
        prior: draws of the prior, `(draw, data, value)`; none where it cannot be drawn from.
        missing: where draws of the prior have mass that the guide misses, `(data,)`.
        escalation: how far to go.
        draws: number of draws.
        memory: bound in bytes on the intermediate tensors.
        done: called from time to time.
    """

    target: Target
    guide: Tensor
    log_weights: Tensor
    prior: Tensor
    missing: Tensor
    escalation: Escalation
    draws: int
    memory: int
    done: Callable[[], object]

    def climb(self) -> Iterator[Weighted]:
        """Yield weighted draws, level by level, of the datapoints that none has served yet."""
        widths = self.guide.std(0).clamp(min=1e-6)
        modes = find_modes(self.target, self._starts(), widths, self.escalation.climbing)
        known = self._guide_knows(modes) & ~self.missing
        rows = known.nonzero()[:, 0]
        if len(rows):
            yield Weighted(0, rows, self.guide[:, rows], self.log_weights[:, rows])
        served = known & assess(self.log_weights, self.memory).good
        yield from self._levels(modes.components(), (~served).nonzero()[:, 0])

    def _starts(self) -> Tensor:
        middle = self.guide.mean(0, keepdim=True)
        kept = [middle, -middle, self._best(self.guide, 1)]
        if len(self.prior):
            kept += [self._best(self.prior, 2), self.prior[:1]]
        return torch.cat(kept)

    def _best(self, vectors: Tensor, count: int) -> Tensor:
        """Return the draws of the highest density among the first few, `(count, data, value)`."""
        some = vectors[:32]
        best = self._evaluated(self.target, some).log_joint.topk(count, 0).indices
        return some.gather(0, best.unsqueeze(-1).expand(-1, -1, some.shape[-1]))

    def _guide_knows(self, modes: Modes) -> Tensor:
        """Tell for which datapoints the guide has mass at all modes."""
        if not self.target.scores:
            return torch.zeros(self.target.rows, dtype=torch.bool)
        log_evidence = self.log_weights.logsumexp(0) - math.log(len(self.log_weights))
        with torch.no_grad():
            log_guide, _, log_joint = self.target.densities(modes.places)
        excess = log_joint - log_guide - log_evidence
        excess = torch.where(modes.values.isfinite(), excess, -math.inf)
        return excess.amax(0) < SURPRISE

    def _levels(self, mixture: Components, rows: Tensor) -> Iterator[Weighted]:
        escalation = self.escalation
        if not len(rows):
            return
        drawn = self._from(mixture, rows, 1)
        yield drawn
        rows, mixture, drawn = self._open(rows, mixture, drawn)
        for attempt in range(escalation.rounds):
            if not len(rows):
                return
            adapted = mixture.of(rows).adapted(drawn.vectors, drawn.log_weights)
            if attempt == escalation.rounds // 2:
                adapted = _with_others(adapted, drawn)
            mixture = mixture.with_rows(adapted, rows)
            drawn = self._from(mixture, rows, 2)
            yield drawn
            rows, mixture, drawn = self._open(rows, mixture, drawn)
        if escalation.searching and len(rows):
            heaviest = mixture.of(rows).heaviest()
            loc, factor = fit_normal(self.target.of(rows), *heaviest, escalation.searching)
            here = mixture.of(rows).with_others(loc[None], factor, 0.25)
            added = here.with_others(loc[None], factor, 0.25, freedom=5.0)
            mixture = mixture.with_rows(added, rows)
            drawn = self._from(mixture, rows, 3)
            yield drawn
            rows, mixture, drawn = self._open(rows, mixture, drawn)
        if escalation.temperatures and len(rows):
            yield self._annealed(mixture, rows, drawn)

    def _open(
        self, rows: Tensor, mixture: Components, drawn: Weighted
    ) -> tuple[Tensor, Components, Weighted]:
        """Return the datapoints that the draws do not serve, and their draws."""
        left = ~assess(drawn.log_weights, self.memory, drawn.log_bound).good
        self.done()
        kept = Weighted(
            drawn.level, rows[left], drawn.vectors[:, left], drawn.log_weights[:, left]
        )
        return rows[left], mixture, kept

    def _from(self, mixture: Components, rows: Tensor, level: int) -> Weighted:
        """Draw from the mixture, the guide and the prior, weighted by the density of all.

        The guide is the one who knows the pair, and with the prior as part of the mixture no
        weight exceeds the largest likelihood by more than a factor (Hesterberg, "Weighted Average
        Importance Sampling and Defensive Mixture Distributions", 1995).
        """
        here, target = mixture.of(rows), self.target.of(rows)
        of_guide = int(_GUIDE_SHARE * self.draws) if target.scores else 0
        of_prior = int(_PRIOR_SHARE * self.draws) if len(self.prior) else 0
        vectors = [here.draw(self.draws - of_guide - of_prior)]
        if of_guide:
            # Other draws than the last level's.
            start = (level * of_guide) % (len(self.guide) - of_guide + 1)
            vectors.append(self.guide[start : start + of_guide, rows])
        if of_prior:
            vectors.append(target.from_prior(of_prior))
        whole = torch.cat(vectors)
        found = self._evaluated(target, whole)
        parts = [(self.draws - of_guide - of_prior, here.log_prob(whole))]
        parts += [(of_guide, found.log_guide), (of_prior, found.log_prior)]
        density = torch.stack(
            [
                values.double().nan_to_num(nan=-math.inf) + math.log(count / self.draws)
                for count, values in parts
                if count
            ]
        ).logsumexp(0)
        log_joint = found.log_joint.double().nan_to_num(nan=-math.inf, posinf=math.inf)
        log_bound = None
        if of_prior:
            # p(x|z) p(z) / r(z) is at most the largest p(x|z) over the prior's share of r.
            log_likelihood = (found.log_joint - found.log_prior).nan_to_num(nan=-math.inf)
            log_bound = log_likelihood.amax(0) - math.log(of_prior / self.draws)
        return Weighted(level, rows, whole, log_joint - density, log_bound)

    def _annealed(self, mixture: Components, rows: Tensor, drawn: Weighted) -> Weighted:
        escalation = self.escalation
        vectors, log_weights, _ = tempered(
            self.target.of(rows),
            mixture.of(rows),
            _whole_factor(drawn),
            chains=escalation.chains,
            temperatures=escalation.temperatures,
            leapfrogs=escalation.leapfrogs,
            done=self.done,
        )
        return Weighted(4, rows, vectors, log_weights)

    def _evaluated(self, target: Target, vectors: Tensor) -> Densities:
        """Return the densities, a part of the draws at a time."""
        bytes_per_draw = target.structure.bytes_per_draw * target.rows
        parts = vectors.split(max(1, int(self.memory / bytes_per_draw)))
        with torch.no_grad():
            return joined([target.densities(part) for part in parts])


def _with_others(mixture: Components, drawn: Weighted) -> Components:
    """Add normals around weighted draws, for posteriors that no single normal is like."""
    chosen = torch.multinomial(drawn.log_weights.softmax(0).T, _OTHERS, replacement=True)
    places = drawn.vectors.gather(
        0, chosen.T.unsqueeze(-1).expand(-1, -1, drawn.vectors.shape[-1])
    )
    return mixture.with_others(places, _OTHERS_WIDTH * _whole_factor(drawn), _OTHERS_SHARE)


def _whole_factor(drawn: Weighted) -> Tensor:
    """Return L of the covariance L L^T of weighted draws, `(data, value, value)`."""
    weights = drawn.log_weights.double().nan_to_num(nan=-math.inf).softmax(0)
    vectors = drawn.vectors.double()
    # Half of the weights' own, so that few draws that carry all weight do not make it singular.
    weights = (weights + weights.sqrt() / weights.sqrt().sum(0)) / 2
    centered = vectors - (weights.unsqueeze(-1) * vectors).sum(0)
    square = torch.einsum("sn,snd,sne->nde", weights, centered, centered)
    variances = square.diagonal(dim1=-2, dim2=-1)
    square = 0.95 * square + 0.05 * torch.diag_embed(variances.clamp(min=1e-12))
    return torch.linalg.cholesky(square).to(drawn.vectors)
