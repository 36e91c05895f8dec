"""Bounds of log P(X) from several draws of each datapoint: what they have in common."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from pyro.infer import ELBO
from pyro.infer.util import torch_item
from torch import Tensor

from ppvae.engine import (
    Program,
    TrainingStructure,
    Unsupported,
    random_state,
    set_random_state,
    training_structure_of,
)
from ppvae.engine.compilation import CaptureError, capturing
from ppvae.inference.objectives.backward import add_gradients
from ppvae.inference.objectives.particles import Particles, particles
from ppvae.inference.objectives.requirements import check_particles, check_path

_STRUCTURES = 16  # of pairs that are kept


class ParticleObjective(ELBO, ABC):  # type: ignore[misc]
    """A bound of log P(X) of each datapoint, from log weights l_k = log p(x, z_k) - log q(z_k|x).

    Subclasses give the bound B(l), its derivatives c_k = dB/dl_k, and what remains of them in a
    gradient that runs through the draws alone, c_k - d^2 B / dl_k^2 (Tucker, Lawson, Gu and
    Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives", 2019). Where
    log q weighs beta in l_k, as under a `kl_weight`, c_k - beta d^2 B / dl_k^2 remains.

    The scale of the data, that of `plate(size, subsample_size)` and of `poutine.scale` around all
    sites, multiplies the bound of each datapoint. What scales latent sites otherwise than observed
    ones, as the `kl_weight` of `fit`, is a weight inside the bound. Latents that are not
    reparameterized are learned by their score, each particle's bound held against the one without
    it (Mnih and Rezende, "Variational inference for Monte Carlo objectives", 2016); discrete
    latents of the model alone are summed out.

    Args:
        num_particles: draws of each datapoint.
        path_gradient: take the guide's gradient through the draws alone.
        vectorize_particles: draw all at once, in a plate left of all others; else one after the
            other, for networks that take a single batch dimension.
        at_once: how many are in memory at once; by default all. Fewer need one more run, without
            gradients, and are not compiled.

    Raises:
        ValueError: if a number is not positive.
        Unsupported: when called, if the pair does not allow it; the message names the site.
    """

    def __init__(
        self,
        num_particles: int,
        *,
        path_gradient: bool,
        vectorize_particles: bool,
        at_once: int | None,
    ) -> None:
        for name, value in (("num_particles", num_particles), ("at_once", at_once)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        super().__init__(num_particles=num_particles, vectorize_particles=vectorize_particles)
        self.path_gradient = path_gradient
        self.at_once = at_once
        self._structures: dict[Hashable, TrainingStructure] = {}

    separate_bounds = False
    """Whether model and guide maximize different bounds."""

    @property
    def linear(self) -> bool:
        """Whether the bound is a mean of log weights."""
        return bool(self.num_particles == 1)

    @abstractmethod
    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the bound, `(*)`, of log weights `(particle, *)`."""

    @abstractmethod
    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return the bound's derivative by each log weight, `(particle, *)`."""

    @abstractmethod
    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return what remains of it through the draws; None if all does."""

    def guide_bound(self, log_weights: Tensor) -> Tensor:
        """Return the bound that the guide maximizes; by default the model's."""
        return self.bound(log_weights)

    def guide_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return the derivative of that; None if it is the same bound."""
        return None

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the negative bound, summed over the datapoints, in nats."""
        loss: float = torch_item(_loss(self.bound, *self._weigh(model, guide, args, kwargs)))
        return loss

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Return the same as a tensor, whose gradient is that of the bound."""
        runs = [*self._runs(model, guide, args, kwargs, gated=self._gated)]
        log_weights, scale = _joined(runs)
        surrogate = torch.stack([*self._surrogates(runs, log_weights, scale)]).sum()
        nothing = surrogate - surrogate.detach()  # but its gradient; of a bound of -inf it is NaN
        return _loss(self.bound, log_weights, scale) - torch.where(nothing == 0, nothing, 0.0)

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Return the negative bound, and add its gradients to the parameters'."""
        if self.at_once is not None and self.at_once < self.num_particles:
            return self._in_parts(model, guide, args, kwargs)
        return add_gradients(self.differentiable_loss(model, guide, *args, **kwargs))

    def _in_parts(self, model: Program, guide: Program, args: Any, kwargs: Any) -> float:
        """Weigh all draws, then draw the same ones again, a few at once, and take gradients."""
        if capturing():
            raise CaptureError("the draws of one step are not in memory all at once (at_once)")
        self._structure(model, guide, args, kwargs)
        state = random_state()
        log_weights, scale = self._weigh(model, guide, args, kwargs)
        set_random_state(state)
        again = self._runs(model, guide, args, kwargs, gated=self._gated)
        for part in self._surrogates(again, log_weights, scale):
            if part.requires_grad:
                (-part).backward()
        return float(_loss(self.bound, log_weights, scale))

    @torch.no_grad()
    def _weigh(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> tuple[Tensor, Tensor | float]:
        """Return the log weights of new draws, and the scale of the data."""
        return _joined(self._runs(model, guide, args, kwargs, gated=False))

    @property
    def _gated(self) -> bool:
        return self.path_gradient or self.separate_bounds

    def _surrogates(
        self, runs: Iterable[Particles], log_weights: Tensor, scale: Tensor | float
    ) -> Iterator[Tensor]:
        """Yield a number for each run whose gradient is its part of the bound's."""
        weights = scale * self.coefficients(log_weights)
        guides = self.guide_coefficients(log_weights)
        own = others = None if guides is None else scale * guides
        if self.path_gradient:
            paths = self.path_coefficients(log_weights)
            own = weights if own is None else own
            others = None if paths is None else scale * paths
        gains, start = None, 0
        for run in runs:
            part = slice(start, start + len(run.log_joint))
            start = part.stop
            remaining = None if others is None else others[part]
            if self.path_gradient and remaining is not None and own is not None:
                weight = run.posterior_weight()
                if weight is not None:
                    remaining = own[part] + weight * (remaining - own[part])
            surrogate = run.surrogate(weights[part], remaining, path=self.path_gradient)
            if run.log_unreparameterized is not None:
                if gains is None:
                    gains = scale * _gains(self.guide_bound, log_weights)
                surrogate = surrogate + (gains[part] * run.log_unreparameterized).sum()
            yield surrogate

    def _runs(
        self, model: Program, guide: Program, args: Any, kwargs: Any, *, gated: bool
    ) -> Iterator[Particles]:
        structure = self._structure(model, guide, args, kwargs)
        model, guide = _given(model, kwargs), _given(guide, kwargs)
        if not self.vectorize_particles or self.num_particles == 1:
            for _ in range(self.num_particles):
                yield particles(model, guide, args, structure, None, gated=gated)
            return
        at_once = self.at_once or self.num_particles
        for start in range(0, self.num_particles, at_once):
            count = min(at_once, self.num_particles - start)
            yield particles(model, guide, args, structure, count, gated=gated)

    def _structure(
        self, model: Program, guide: Program, args: Any, kwargs: Any
    ) -> TrainingStructure:
        # Labels, say, are observed where they are given, and latent where they are not.
        given = {**dict(enumerate(args)), **kwargs}
        key = model, guide, frozenset(name for name, value in given.items() if value is not None)
        if key not in self._structures:
            if len(self._structures) == _STRUCTURES:
                self._structures.clear()
            model, guide = _given(model, kwargs), _given(guide, kwargs)
            structure = training_structure_of(model, guide, args)
            if structure.other_scale is not None and not self.linear:
                raise Unsupported(
                    f"observed site {structure.other_scale!r} is scaled otherwise than site "
                    f"{structure.reference!r}, so that the scale of the bound is not defined; "
                    "give both the same, or take an ELBO"
                )
            runs = self.at_once or self.num_particles
            vectorized = self.vectorize_particles and runs >= self.num_particles
            if structure.subsampled and self.num_particles > 1 and not vectorized:
                raise Unsupported(
                    "the plate 'data' chooses its rows anew for every run, so that draws of "
                    "several runs are not of the same datapoints; pass the objective "
                    "vectorize_particles=True and no at_once, or give the pair its minibatch"
                )
            if self._gated:
                name, alone = type(self).__name__, self.path_gradient
                check_path(name, model, guide, args, structure, alone=alone)
            if self.vectorize_particles and self.num_particles > 1:
                check_particles(model, guide, args, structure)
            self._structures[key] = structure
        return self._structures[key]

    def _get_trace(self, *args: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} weighs datapoints, not traces")


def _given(program: Program, kwargs: dict[str, Any]) -> Program:
    return partial(program, **kwargs) if kwargs else program


def _joined(runs: Iterable[Particles]) -> tuple[Tensor, Tensor | float]:
    """Put the log weights of several runs together; return the scale, the same of every draw."""
    weighed = [(run.log_weights.detach(), run.scale) for run in runs]
    scale = weighed[0][1]
    if isinstance(scale, Tensor) and scale.dim() > 0:
        scale = scale[0]
    return torch.cat([log_weights for log_weights, _ in weighed]), scale


def _loss(bound: Callable[[Tensor], Tensor], log_weights: Tensor, scale: Tensor | float) -> Tensor:
    return -(scale * bound(log_weights)).sum()


def _gains(bound: Callable[[Tensor], Tensor], log_weights: Tensor) -> Tensor:
    """Return what each draw adds to the bound over the mean log weight of the others."""
    count = len(log_weights)
    if count == 1:
        return bound(log_weights).unsqueeze(0)
    alone = torch.eye(count, dtype=torch.bool, device=log_weights.device).unsqueeze(-1)
    # Not the sum less its part, which may be infinite.
    others = log_weights.unsqueeze(1).masked_fill(alone, 0).sum(0) / (count - 1)
    without = torch.where(alone, others, log_weights.unsqueeze(1))
    baseline = bound(without)
    # Where all the others have no weight, there is nothing to hold the score against.
    return bound(log_weights) - baseline.masked_fill(baseline == -math.inf, 0)
