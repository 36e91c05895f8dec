"""Maximizes the ELBO of each datapoint over an approximate posterior of its own."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

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
)
from ppvae.refinement.approximations import Approximation, Values

STAGES = 4
"""Stages of the maximization: each begins with new units, and in the last the step size falls."""

# Adam's epsilon, for gradients in nats a width: below it Adam's steps shrink with the gradient.
# Otherwise they would be as noisy near the optimum as far from it.
_EPSILON = 0.1

LogJoint: TypeAlias = Callable[[Values], Tensor]
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
    start: A, density: LogJoint, *, steps: int, particles: int, learning_rate: float
) -> Iterator[A]:
    """Maximize E_q[log p(x, z) - log q(z)] of all datapoints at once; yield each stage's result.

    Adam on reparameterized draws, its step size falling to 0 along a cosine in the last stage. The
    gradient leaves out the score of log q, so that its noise vanishes where q is the posterior
    (Roeder, Wu and Duvenaud, "Sticking the Landing", 2017). A result is the mean of the iterates
    of the second half of its stage (Polyak and Juditsky, "Acceleration of Stochastic Approximation
    by Averaging", 1992).

    Args:
        start: where to begin.
        density: log p(x, z) at values of the latents, `(draw, data)`.
        steps: number of steps of all stages.
        particles: draws per datapoint and step.
        learning_rate: the first step size, in units of the approximation's width.
    """
    approximation, done = start, 0
    for stage in range(1, STAGES + 1):
        approximation = approximation.rescaled()
        offsets = [offset.requires_grad_() for offset in approximation.offsets()]
        means = approximation.offsets()
        adam = torch.optim.Adam(offsets, lr=learning_rate, betas=(0.9, 0.99), eps=_EPSILON)
        end = stage * steps // STAGES
        averaged = (end - done + 1) // 2
        for step in range(done, end):
            if stage == STAGES:
                angle = math.pi * (step - done) / (end - done)
                adam.param_groups[0]["lr"] = learning_rate * (1 + math.cos(angle)) / 2
            _step(approximation, density, offsets, particles)
            adam.step()
            if step >= end - averaged:
                for mean, offset in zip(means, offsets, strict=True):
                    mean += offset.detach() / averaged
        yield approximation.moved(means)
        # The mean lags behind the iterates while they still move.
        approximation = approximation.moved([offset.detach() for offset in offsets])
        done = end


def _step(
    approximation: Approximation, density: LogJoint, offsets: list[Tensor], particles: int
) -> None:
    """Set the offsets' gradients to that of the negative ELBO, summed over the data."""
    with torch.enable_grad():
        values = approximation.moved(offsets).rsample(particles)
        fixed = approximation.moved([offset.detach() for offset in offsets])
        loss = (fixed.log_prob(values) - density(values)).mean(0).sum()
        # Of the offsets alone: the pair's own parameters get no gradient.
        gradients = torch.autograd.grad(loss, offsets)
    for offset, gradient in zip(offsets, gradients, strict=True):
        offset.grad = gradient
