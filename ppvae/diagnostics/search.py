"""The search for the best posterior of each datapoint, and fresh draws of what it found."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from ppvae.batches import Batch
from ppvae.chunked_draws import draw_chunks
from ppvae.diagnostics.approximations import Approximation, Values
from ppvae.diagnostics.importance import refuse_degenerate, refuse_unnormalised
from ppvae.diagnostics.joint_normal import joint_normal
from ppvae.diagnostics.mixture import Mixture
from ppvae.diagnostics.own_family import own_family
from ppvae.diagnostics.refinement import STAGES, LogJoint, log_joint, refine
from ppvae.draws import vectorizable
from ppvae.isolation import seeded
from ppvae.traces import Pair, Structure

_KEPT = 4  # copies of what a draw passes through, while its gradient is computed
_TRIANGLES = 100  # bytes of a normal's correlations: a dozen copies, gradients and moments among
_DENSITIES = 400  # bytes of what is known of a draw at the end

A = TypeVar("A", bound=Approximation)


@dataclass(frozen=True)
class Search:
    """How the best posteriors are searched for and evaluated.

    Args:
        normal: search for the best normal of all latents jointly too.
        draws: number of draws per datapoint that evaluate each posterior.
        steps: of the optimisation.
        particles: draws per datapoint and step.
        learning_rate: the first step size, in units of the posterior's width.
        memory: bound in bytes on the intermediate tensors.

    Raises:
        ValueError: if one of them is too small.
    """

    normal: bool
    draws: int
    steps: int
    particles: int
    learning_rate: float
    memory: int

    def __post_init__(self) -> None:
        least = {"draws": 2, "steps": 2 * STAGES, "particles": 1, "memory": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise ValueError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")

    def chunks(self, pair: Pair, batch: Batch) -> Iterator[tuple[Batch, Structure, bool]]:
        """Cut the data so that a step stays within the memory; tell whether draws run together.

        Raises:
            ValueError: if the pair's structure does not allow it.
        """
        kept = _KEPT * self.particles
        few = max(1, self.memory // kept)
        look, structure, _ = next(iter(draw_chunks(pair, batch, 1, few)))
        refuse_degenerate(structure)
        refuse_unnormalised(structure)
        family = own_family(pair, look, structure)
        numbers = sum(value.numel() for value in family.rsample(1).values()) / family.rows
        step = kept * structure.bytes_per_draw + _DENSITIES * self.draws
        share = structure.bytes_per_draw / (step + self.normal * _TRIANGLES * numbers**2)
        together = vectorizable(pair, look, structure)
        for chunk, here, _ in draw_chunks(pair, batch, 1, max(1, int(self.memory * share))):
            yield chunk, here, together

    def run(
        self, pair: Pair, chunk: Batch, structure: Structure, together: bool, apart: Iterator[int]
    ) -> tuple[Mixture, list[Tensor]]:
        """Search for q* and n*, and draw from q, q* and n* anew.

        Args:
            pair: the model/guide pair.
            chunk: some datapoints.
            structure: what `structure_of` said of the pair.
            together: run all draws at once.
            apart: seeds of the draws.

        Returns:
            The log densities of the draws; and of q* and of n* what each draw gained over the
            stage before the last, `(draw, data)`, at the same random numbers.
        """
        own = own_family(pair, chunk, structure)

        def density(values: Values) -> Tensor:
            return log_joint(pair, chunk, structure, own.sites, values, together)

        stages = self._stages(own, density)
        optimal = stages[-1]
        searches: list[list[Approximation]] = [[*stages]]
        if self.normal:
            searches.append([*self._stages(joint_normal(optimal), density)])
        proposals: list[Approximation] = [own, *(stages[-1] for stages in searches)]
        passing = structure.bytes_per_draw * own.rows
        repeats = max(1, int(self.memory / passing))
        parts = []
        for start in range(0, self.draws, repeats):
            count = min(repeats, self.draws - start)
            numbers = [next(apart) for _ in proposals]
            runs = [
                _scored(one, proposals, density, count, number)
                for one, number in zip(proposals, numbers, strict=True)
            ]
            earlier = [
                _scored(stages[-2], [stages[-2]], density, count, number)
                for stages, number in zip(searches, numbers[1:], strict=True)
            ]
            parts.append((_mixture(runs), [_mixture([run]) for run in earlier]))
        last = _joined([late for late, _ in parts])
        rises = []
        for index in range(len(searches)):
            first = _joined([before[index] for _, before in parts])
            rises.append(last.terms(index + 1) - first.terms(0))
        return last, rises

    def _stages(self, start: A, density: LogJoint) -> list[A]:
        return list(
            refine(
                start,
                density,
                steps=self.steps,
                particles=self.particles,
                learning_rate=self.learning_rate,
            )
        )


def _scored(
    proposal: Approximation,
    proposals: Sequence[Approximation],
    density: LogJoint,
    draws: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Draw; return log p(x, z), `(draw, data)`, and all proposals' log q, one more in front."""
    with seeded(seed):
        values = proposal.rsample(draws)
    log_densities = torch.stack([other.log_prob(values) for other in proposals])
    return density(values).double(), log_densities.double()


def _mixture(runs: list[tuple[Tensor, Tensor]]) -> Mixture:
    log_joints, log_densities = zip(*runs, strict=True)
    return Mixture(torch.stack(log_joints), torch.stack(log_densities, 1))


def _joined(parts: list[Mixture]) -> Mixture:
    return Mixture(
        torch.cat([part.log_joint for part in parts], 1),
        torch.cat([part.log_densities for part in parts], 2),
    )
