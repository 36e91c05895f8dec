"""Chains that are annealed along a path, for annealed importance sampling."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppvae.engine import Batch, Pair, Sites, Structure
from ppvae.refinement.compiled_path import CompiledPath, PathCode
from ppvae.refinement.ensembles import Conditioned, ensemble
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
        generator: draws the random numbers of the transitions; torch's own unless given.
        code: compiled code of the path, where there is enough to compute.
    """

    annealing: Annealing
    pair: Pair
    batch: Batch
    structure: Structure
    vectorized: bool
    observed: Sites
    done: Callable[[], object]
    generator: torch.Generator | None = None
    code: PathCode | None = None

    def path(self, chains: int) -> Path:
        """Return the path, for that many chains."""
        several = ensemble(
            self.pair, self.batch, self.structure, chains, vectorized=self.vectorized
        )
        values = {name: several.repeat(site) for name, site in self.observed.items()}
        return Path(replace(several, pair=Conditioned(self.pair, values)), self.annealing.start)

    def begun(self, chains: int) -> "Begun":
        """Draw that many chains from the start, and generate code for their path if it pays."""
        path = self.path(chains)
        point = path.draw()
        compiled = None if self.code is None else self.code.compiled(path, point)
        return Begun(path if compiled is None else compiled, point)

    def pilot(self) -> "Begun | None":
        """Return the chains of the pilot run, if it is needed."""
        return None if self.annealing.temperatures == 1 else self.begun(_PILOT_CHAINS)

    def step_sizes(self, pilot: "Begun | None" = None) -> StepSizes:
        """Tune step sizes for every inner temperature in a pilot run.

        Args:
            pilot: its chains, as `pilot` returns them, which it calls unless they are given.
        """
        pilot = self.pilot() if pilot is None else pilot
        if pilot is None:
            return StepSizes(torch.zeros(0, len(self.batch[0])), {})
        inner = sigmoid_schedule(self.annealing.pilot)[1:-1]
        count = self.annealing.temperatures - 1
        leapfrogs = self.annealing.leapfrogs
        return tune(pilot.path, pilot.point, inner, count, leapfrogs, self.done, self.generator)

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
                    path,
                    point,
                    temperature,
                    *sizes.at(index),
                    self.annealing.leapfrogs,
                    self.generator,
                )
                rates += probability / len(sizes)
                self.done()
        return log_weights, rates


@dataclass(frozen=True)
class Begun:
    """Chains at exact draws of the start.

    Args:
        path: the path along which they will be annealed.
        point: where they are.
    """

    path: Path
    point: Point

    @property
    def compiled(self) -> bool:
        """Whether the path is compiled code, which several threads can run at once."""
        return isinstance(self.path, CompiledPath)


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
