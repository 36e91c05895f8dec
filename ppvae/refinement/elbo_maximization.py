"""Maximizes the ELBO of each datapoint over an approximate posterior of its own."""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.engine import (
    DRAWS,
    Batch,
    Pair,
    Sites,
    Structure,
    Way,
    draw,
    model_densities,
    plates,
    run_guide,
    run_model,
    seeded,
)
from ppvae.refinement.approximations import Approximation, Values
from ppvae.refinement.joint_densities import JointDensity, LogJoint, PlainDensity

STAGES = 4
"""Stages of a short maximization: each begins with new units; in the last the step size falls."""

_LONG = 300  # steps from which there are twice as many, after which a datapoint may wait
_LOOKS = 64  # draws that tell how far a stage has raised the ELBO
_SEED = 0  # of these draws

# Adam's epsilon, for gradients in nats a width: below it Adam's steps shrink with the gradient.
# Otherwise they would be as noisy near the optimum as far from it.
_EPSILON = 0.1

A = TypeVar("A", bound=Approximation)


@dataclass
class FixedGuide:
    """A pair whose guide draws given values: all at once, or one at each run.

    Args:
        model: the model of a pair.
        sites: the guide's latent sites, for their plates.
        values: of each, the draws first.
        vectorized: give all draws at once.
    """

    model: Any
    sites: Sites
    values: Values
    vectorized: bool
    runs: int = field(default=0, init=False)

    def guide(self, *batch: Tensor) -> None:
        """Name the values as the draws of the sites, in their plates."""
        frames = {frame.name: frame for site in self.sites.values() for frame in plates(site)}
        entered = {
            name: pyro.plate(name, frame.size, dim=frame.dim) for name, frame in frames.items()
        }
        for name, site in self.sites.items():
            value = self.values[name]
            if not self.vectorized:
                value = value[self.runs]
            with ExitStack() as stack:
                for frame in plates(site):
                    stack.enter_context(entered[frame.name])
                pyro.sample(name, dist.Delta(value, event_dim=site["fn"].event_dim))
        self.runs += 1


def log_joint(
    pair: Pair, batch: Batch, structure: Structure, sites: Sites, values: Values, vectorized: bool
) -> Tensor:
    """Return log p(x, z) in nats at given values of the latents, `(draw, data)`.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        sites: the guide's latent sites.
        values: of each of them, the draws first.
        vectorized: run all draws at once.
    """
    draws = len(next(iter(values.values())))
    given = FixedGuide(pair.model, sites, values, vectorized)
    if structure.enumerated:
        return _enumerated_log_joint(pair, batch, structure, given, draws)
    plain = replace(structure, kl=None, ordered=False)  # points have no closed-form KL
    way = Way.AT_ONCE if vectorized else Way.ONE_BY_ONE
    drawn = draw(given, batch, plain, draws, way=way)
    return drawn.log_prior + drawn.log_likelihood


def _enumerated_log_joint(
    pair: Pair, batch: Batch, structure: Structure, given: FixedGuide, draws: int
) -> Tensor:
    """Return log p(x, z) where the model meets the sites that the pair's own guide enumerates."""

    def at(count: int | None) -> Tensor:
        model = run_model(pair, batch, structure, run_guide(given, batch))
        return model_densities(model, structure, len(batch[0]), count)[1]

    if given.vectorized:
        with pyro.plate(DRAWS, draws, dim=structure.draw_dim):
            return at(draws)
    return torch.cat([at(None) for _ in range(draws)])


def maximize_elbo(
    start: A,
    density: LogJoint | JointDensity,
    *,
    steps: int,
    particles: int,
    learning_rate: float,
    tolerance: float = 0.05,
) -> Iterator[A]:
    """Maximize E_q[log p(x, z) - log q(z)] of all datapoints at once; yield each stage's result.

    Adam on reparameterized draws, its step size falling to 0 along a cosine in the last stage. The
    gradient leaves out the score of log q, so that its noise vanishes where q is the posterior
    (Roeder, Wu and Duvenaud, "Sticking the Landing", 2017). A result is the mean of the iterates
    of the second half of its stage (Polyak and Juditsky, "Acceleration of Stochastic Approximation
    by Averaging", 1992).

    With 300 steps or more, the first stage takes half of the particles, and a datapoint whose ELBO
    a later one raised by no more than `tolerance` waits for the last stage, which all take.

    Args:
        start: where to begin.
        density: log p(x, z) at values of the latents, `(draw, data)`.
        steps: largest number of steps of all stages.
        particles: draws per datapoint and step.
        learning_rate: the first step size, in units of the approximation's width.
        tolerance: in nats.
    """
    target = density if isinstance(density, JointDensity) else PlainDensity(density)
    search, looking = _Search(target, particles, learning_rate), steps >= _LONG
    here, done = start, 0
    elbo = moving = torch.empty(0)
    for end in _ends(steps, looking):
        first, last, count = done == 0, end == steps, end - done
        done = end
        if looking and not (first or last or bool(moving.any())):
            continue
        rows = moving if looking and not (first or last) else None
        few = max(1, particles // 2) if looking and first else particles
        base, means, offsets = search.stage(here, count, few, rows, falling=last)
        result = base.moved(means)
        if looking and not last:
            risen = elbo_of(result, target, particles, rows)
            if rows is None:
                moving, elbo = torch.ones_like(risen, dtype=torch.bool), risen
            else:
                moving = rows & ~(risen - elbo <= tolerance)
                elbo = torch.where(rows, risen, elbo)
            # A mean lags behind the iterates while they still move, and is better where not.
            shaped = zip(base.of_rows(moving), offsets, means, strict=True)
            offsets = [torch.where(*parts) for parts in shaped]
        here = base.moved(offsets)
        yield result


@dataclass(frozen=True)
class _Search:
    """The stages of the maximization.

    Args:
        target: log p(x, z).
        particles: draws per datapoint and step.
        learning_rate: the first step size.
    """

    target: JointDensity
    particles: int
    learning_rate: float

    def stage(
        self, start: A, steps: int, particles: int, rows: Tensor | None, *, falling: bool
    ) -> tuple[A, list[Tensor], list[Tensor]]:
        """Run one stage for some rows, the step size falling or not.

        Returns:
            The start in new units, and offsets of it: the result and the last iterate.
        """
        base = start.rescaled()
        offsets = [offset.requires_grad_() for offset in base.offsets()]
        means = base.offsets()
        adam = torch.optim.Adam(offsets, lr=self.learning_rate, betas=(0.9, 0.99), eps=_EPSILON)
        averaged = (steps + 1) // 2
        for step in range(steps):
            if falling:
                angle = math.pi * step / steps
                adam.param_groups[0]["lr"] = self.learning_rate * (1 + math.cos(angle)) / 2
            self._step(base, offsets, particles, rows)
            adam.step()
            if step >= steps - averaged:
                for mean, offset in zip(means, offsets, strict=True):
                    mean += offset.detach() / averaged
        return base, means, [offset.detach() for offset in offsets]

    def _step(
        self,
        approximation: Approximation,
        offsets: list[Tensor],
        particles: int,
        rows: Tensor | None,
    ) -> None:
        """Set the offsets' gradients to that of the negative ELBO, summed over the data."""
        with torch.enable_grad():
            values = approximation.moved(offsets).rsample(particles)
            fixed = approximation.moved([offset.detach() for offset in offsets])
            slopes = self.target.gradient(values, rows)
            own = fixed.log_prob(values)
            loss = (own if rows is None else own[:, rows]).sum()
            for name, value in values.items():
                loss = loss - (slopes[name] * value).sum()
            # Of the offsets alone: the pair's own parameters get no gradient.
            gradients = torch.autograd.grad(loss / particles, offsets)
        for offset, gradient in zip(offsets, gradients, strict=True):
            offset.grad = gradient


def elbo_of(
    approximation: Approximation,
    target: JointDensity,
    particles: int,
    rows: Tensor | None = None,
) -> Tensor:
    """Estimate the ELBO of each datapoint, at the same random numbers every time.

    Args:
        approximation: of the posteriors.
        target: log p(x, z).
        particles: draws that are computed together.
        rows: a mask of the datapoints that are asked for, all unless given.
    """
    with torch.no_grad():
        with seeded(_SEED):
            values = approximation.rsample(_LOOKS)
        parts = []
        for i in range(0, _LOOKS, particles):
            few = {name: value[i : i + particles] for name, value in values.items()}
            parts.append(target(few, rows))
        return (torch.cat(parts) - approximation.log_prob(values)).mean(0)


def _ends(steps: int, looking: bool) -> list[int]:
    """Return the steps at which the stages end; the last one takes a quarter of them."""
    parts = 2 * STAGES if looking else STAGES
    return [*(part * steps // parts for part in range(1, parts - parts // STAGES + 1)), steps]
