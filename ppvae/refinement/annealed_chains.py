"""Chains that are annealed along a path, for annealed importance sampling."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import Batch, Pair, Sites, Structure
from ppvae.refinement.ensembles import ensemble
from ppvae.refinement.hamiltonian import transition
from ppvae.refinement.paths import Path, Point, Start
from ppvae.refinement.step_sizes import SEARCHES, StepSizes, tune

_PILOT_CHAINS = 16
_FEWEST = 50  # temperatures of the pilot run
_STEEPNESS = 4.0


@dataclass(frozen=True)
class Annealing:
    """How chains are annealed.

    Args:
        start: the first density.
        temperatures: number of densities after it, the posterior among them.
        chains: number of chains per datapoint.
        leapfrogs: leapfrog steps of a trajectory.
    """

    start: Start
    temperatures: int
    chains: int
    leapfrogs: int

    @property
    def pilot_transitions(self) -> int:
        """Transitions of the pilot run; none where no step size is needed."""
        return (SEARCHES + self.pilot - 1) * (self.temperatures > 1)

    @property
    def pilot(self) -> int:
        """Temperatures of the pilot run."""
        return max(_FEWEST, self.temperatures // 10)


@dataclass(frozen=True)
class Chains:
    """Chains of some datapoints.

    Args:
        annealing: how they are annealed.
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        vectorized: whether the pair's networks take one more batch dimension.
        observed: sites whose values replace the pair's own observations.
        done: called after every transition.
    """

    annealing: Annealing
    pair: Pair
    batch: Batch
    structure: Structure
    vectorized: bool
    observed: Sites
    done: Callable[[], object]

    def path(self, chains: int) -> Path:
        """Return the path, for that many chains."""
        several = ensemble(
            self.pair, self.batch, self.structure, chains, vectorized=self.vectorized
        )
        values = {name: several.repeat(site) for name, site in self.observed.items()}
        return Path(replace(several, pair=Conditioned(self.pair, values)), self.annealing.start)

    def step_sizes(self) -> StepSizes:
        """Tune step sizes for every inner temperature in a pilot run."""
        if self.annealing.temperatures == 1:
            return StepSizes(torch.zeros(0, len(self.batch[0])), {})
        pilot = sigmoid_schedule(self.annealing.pilot)[1:-1]
        count = self.annealing.temperatures - 1
        leapfrogs = self.annealing.leapfrogs
        return tune(self.path(_PILOT_CHAINS), pilot, count, leapfrogs, self.done)

    def run(
        self, path: Path, point: Point, schedule: Sequence[float], sizes: StepSizes
    ) -> tuple[Tensor, Tensor]:
        """Move chains from the first temperature of a schedule to the last.

        Args:
            path: what `path` returned.
            point: exact draws at the first temperature.
            schedule: the temperatures, rising or falling.
            sizes: step sizes at its inner temperatures.

        Returns:
            The log weights in nats and the mean probability of acceptance, `(chain, data)`.
        """
        log_weights = torch.zeros_like(point.log_start, dtype=torch.float64)
        rates = torch.full_like(point.log_start, 0.0 if len(sizes) else math.nan)
        for index, temperature in enumerate(schedule[1:]):
            difference = point.log_target.double() - point.log_start.double()
            log_weights += (temperature - schedule[index]) * difference
            if index < len(sizes):
                point, probability = transition(
                    path, point, temperature, *sizes.at(index), self.annealing.leapfrogs
                )
                rates += probability / len(sizes)
                self.done()
        return log_weights, rates


class Conditioned:
    """A pair whose observed sites have other values than its batch gives them.

    Args:
        pair: the model/guide pair.
        values: the observations, by site.
    """

    def __init__(self, pair: Pair, values: dict[str, Tensor]) -> None:
        self.guide = pair.guide
        self.model: Any = poutine.condition(pair.model, data=values) if values else pair.model


def sigmoid_schedule(count: int) -> list[float]:
    """Return `count` + 1 temperatures from 0 to 1, close together at both ends.

        t_k = (s(d (2 k / T - 1)) - s(-d)) / (s(d) - s(-d)),    s the logistic function, d = 4

    Grosse, Ghahramani and Adams, "Sandwiching the marginal likelihood using bidirectional Monte
    Carlo", 2015.

    Example:
        >>> [round(t, 2) for t in sigmoid_schedule(4)]
        [0.0, 0.1, 0.5, 0.9, 1.0]
    """
    lowest, highest = _logistic(-_STEEPNESS), _logistic(_STEEPNESS)
    inner = (
        (_logistic(_STEEPNESS * (2 * k / count - 1)) - lowest) / (highest - lowest)
        for k in range(1, count)
    )
    return [0.0, *inner, 1.0]


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))
