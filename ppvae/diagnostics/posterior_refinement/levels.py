"""Better and better weighted draws of the datapoints that the level before did not serve."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppvae.diagnostics.posterior_refinement.escalation import Escalation
from ppvae.diagnostics.posterior_refinement.mixing import (
    FREEDOM,
    adapted_to,
    whole_factor,
    with_others,
)
from ppvae.diagnostics.posterior_refinement.weighted_draws import Weighted, assess
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

SURPRISE = 3.0
"""Nats by which log p(x, z) - log q(z|x) at a place may exceed log P(X): elsewhere the guide may
miss mass there."""

_GUIDE_SHARE, _PRIOR_SHARE = 0.1, 0.1  # of a mixture's draws
_MOST_VALUES = 16  # of a posterior whose covariance a thousand weighted draws show
_FOUND_SHARE = 0.25  # of the normal that is searched for, and of a heavier one


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
        guide = self._weighted(0, torch.arange(self.target.rows), self.guide, self.log_weights)
        served = known & guide.assessment.good
        yield guide.at(served)
        drawn = guide.at(~served)
        mixture = modes.components()
        for level, improved in self._improvements():
            if not len(drawn.rows):
                return
            better = improved(mixture.of(drawn.rows), drawn)
            mixture = mixture.with_rows(better, drawn.rows)
            drawn = self._from(better, drawn.rows, level)
            if level > 1:
                drawn = self._confirmed(better, drawn)
            yield drawn.at(drawn.assessment.good)
            drawn = drawn.at(~drawn.assessment.good)
            self.done()
        if not len(drawn.rows):
            return
        # Others than those by which the mixture was fitted and found wanting.
        drawn = self._from(mixture.of(drawn.rows), drawn.rows, drawn.level)
        yield drawn
        drawn = drawn.at(~drawn.assessment.trusted)
        if self.escalation.temperatures and len(drawn.rows):
            yield self._annealed(mixture.of(drawn.rows), drawn)

    def _improvements(self) -> Iterator[tuple[int, Callable[[Components, Weighted], Components]]]:
        """Yield what makes the mixture better, given draws of the one before, with its level."""
        escalation = self.escalation
        few = self.target.size <= _MOST_VALUES
        # A covariance of many values cannot be learned from a thousand weighted draws.
        rounds = escalation.rounds if few or not escalation.searching else 0
        before = rounds - rounds // 4
        yield 1, lambda mixture, drawn: mixture
        for place in range(before):
            yield 2, with_others if few and place == before // 3 else adapted_to
        if escalation.searching:
            yield 3, self._searched
        for _ in range(rounds - before):
            yield 2, adapted_to

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

    def _searched(self, mixture: Components, drawn: Weighted) -> Components:
        """Add the normal of the highest ELBO, and a Student-t distribution like it."""
        target = self.target.of(drawn.rows)
        loc, factor = fit_normal(target, *mixture.heaviest(), self.escalation.searching)
        mixture = mixture.with_others(loc[None], factor, _FOUND_SHARE)
        return mixture.with_others(loc[None], factor, _FOUND_SHARE, FREEDOM)

    def _confirmed(self, mixture: Components, drawn: Weighted) -> Weighted:
        """Return other draws where the weights have passed: what was chosen by them is too good.

        The other draws must pass too, and agree on log P(X).
        """
        passed = drawn.assessment.good
        if not bool(passed.any()):
            return drawn
        again = self._from(mixture.of(passed.nonzero()[:, 0]), drawn.rows[passed], drawn.level)
        return _replaced(drawn, again, passed)

    def _from(self, mixture: Components, rows: Tensor, level: int) -> Weighted:
        """Draw from the mixture, the guide and the prior, weighted by the density of all.

        With the prior as part of the mixture no weight exceeds the largest likelihood by more
        than a factor (Hesterberg, "Weighted Average Importance Sampling and Defensive Mixture
        Distributions", 1995).
        """
        target = self.target.of(rows)
        of_guide = int(_GUIDE_SHARE * self.draws) if target.scores else 0
        of_prior = int(_PRIOR_SHARE * self.draws) if len(self.prior) else 0
        vectors = [mixture.draw(self.draws - of_guide - of_prior)]
        if of_guide:
            chosen = torch.randint(len(self.guide), (of_guide,))
            vectors.append(self.guide[chosen][:, rows])
        if of_prior:
            vectors.append(target.from_prior(of_prior))
        whole = torch.cat(vectors)
        found = self._evaluated(target, whole)
        parts = [(self.draws - of_guide - of_prior, mixture.log_prob(whole))]
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
        return self._weighted(level, rows, whole, log_joint - density, log_bound)

    def _weighted(
        self,
        level: int,
        rows: Tensor,
        vectors: Tensor,
        log_weights: Tensor,
        log_bound: Tensor | None = None,
    ) -> Weighted:
        latents = self.target.of(rows).latents(vectors)
        assessment = assess(log_weights, latents, self.memory, log_bound)
        return Weighted(level, rows, vectors, log_weights, assessment)

    def _annealed(self, mixture: Components, drawn: Weighted) -> Weighted:
        escalation = self.escalation
        vectors, log_weights, _ = tempered(
            self.target.of(drawn.rows),
            mixture,
            whole_factor(drawn),
            chains=min(escalation.chains, self.draws),
            temperatures=escalation.temperatures,
            leapfrogs=escalation.leapfrogs,
            done=self.done,
        )
        return self._weighted(LEVELS.index("annealing"), drawn.rows, vectors, log_weights)

    def _evaluated(self, target: Target, vectors: Tensor) -> Densities:
        """Return the densities, a part of the draws at a time."""
        bytes_per_draw = target.structure.bytes_per_draw * target.rows
        parts = vectors.split(max(1, int(self.memory / bytes_per_draw)))
        with torch.no_grad():
            return joined([target.densities(part) for part in parts])


def _replaced(drawn: Weighted, again: Weighted, where: Tensor) -> Weighted:
    """Return weighted draws with those of some datapoints replaced by others of the same kind."""
    vectors, log_weights = drawn.vectors.clone(), drawn.log_weights.clone()
    vectors[:, where], log_weights[:, where] = again.vectors, again.log_weights
    before, now = drawn.assessment.at(where), again.assessment
    agree = now.agrees(before)
    now = replace(now, effective_sample_size=now.effective_sample_size * agree)
    return replace(
        drawn,
        vectors=vectors,
        log_weights=log_weights,
        assessment=drawn.assessment.with_rows(now, where),
    )
