"""One step of training and one evaluation of its objective, in nats per datapoint."""

import math
from collections.abc import Callable
from typing import Any

from pyro.infer import ELBO, SVI, TraceEnum_ELBO
from pyro.optim import PyroOptim
from torch import Tensor

from ppvae.engine import Adapted, Pair, isolated, run_pair
from ppvae.inference.history import datapoints
from ppvae.inference.row_scale import RowScale
from ppvae.inference.steps.kl_weight import KLWeight
from ppvae.inference.steps.minibatches import Minibatch

_WEIGHT = "expected a finite number of at least 0"


class Steps:
    """Steps and evaluations of one objective through Pyro's SVI.

    Args:
        pair: the pair; one run of it shows how many datapoints a batch's loss is summed over.
        model: its model, every parameter announced.
        guide: its guide, likewise.
        objective: what is maximized.
        optim: changes the parameters.
        kl_weight: weight of the latent sites, a number or a function of the step.
        row_scale: how model and guide multiply the rows, if they do.

    Raises:
        ValueError: if a constant `kl_weight` is negative or not finite, or one other than 1 meets
            an objective that sums latents out.
    """

    def __init__(
        self,
        pair: Pair,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        objective: ELBO,
        optim: PyroOptim,
        kl_weight: float | Callable[[int], float],
        row_scale: RowScale | None = None,
    ) -> None:
        self.pair = pair
        self.row_scale = row_scale
        self.objective = objective
        self.optim = optim
        self.kl_weight = KLWeight()
        self.schedule = kl_weight if callable(kl_weight) else _constant(kl_weight)
        if isinstance(objective, TraceEnum_ELBO) and kl_weight != 1:
            raise ValueError(
                "TraceEnum_ELBO takes one scale for all sites; expected kl_weight=1, got "
                f"{kl_weight}"
            )
        # The programs that are trained: those of the pair itself if there is no weight.
        self.programs = (model, guide)
        if kl_weight != 1:
            self.programs = (self.kl_weight.weighted(model), self.kl_weight.weighted(guide))
        self.weighted = SVI(
            *self.programs,
            optim,
            loss=objective.loss,
            loss_and_grads=self._finite_loss_and_grads,
        )
        self.plain = SVI(model, guide, optim, loss=objective)
        self._datapoints: dict[int, float] = {}

    def step(self, number: int, minibatch: Minibatch) -> float:
        """Take step `number` (from 0) and return the loss before it."""
        self.set_weight(number)
        return self.take(minibatch) / self.datapoints(minibatch)

    def set_weight(self, number: int) -> None:
        """Set the weight of the KL term to that of step `number`."""
        weight = self.schedule(number)
        if not 0 <= weight < math.inf:
            raise ValueError(f"kl_weight is {weight} at step {number}; {_WEIGHT}")
        self.kl_weight.value.fill_(weight)

    def take(self, minibatch: Minibatch) -> float:
        """Take a step at the present weight and return the loss of the minibatch."""
        self.take_form(minibatch)
        return _number(self.weighted.step(*minibatch.tensors))

    def take_form(self, minibatch: Minibatch) -> None:
        """Let the pair take batches of the form of this one."""
        if isinstance(self.pair, Adapted):
            self.pair.form = minibatch.form
        elif not minibatch.form.plain:
            raise TypeError(
                "a batch of data holds more than tensors, unlike the first one; let the first "
                "batch have None, a dict or a number too, such as (x, None)"
            )

    def evaluate(self, minibatch: Minibatch) -> float:
        """Return the loss with the KL term's full weight; no parameter changes."""
        self.take_form(minibatch)
        loss = _number(self.plain.evaluate_loss(*minibatch.tensors))
        return loss / self.datapoints(minibatch)

    def datapoints(self, minibatch: Minibatch) -> float:
        """Return how many datapoints the loss of a batch is summed over."""
        rows = minibatch.rows
        if rows not in self._datapoints:
            self.take_form(minibatch)
            with isolated(self.pair, seed=0):
                sites = run_pair(self.pair, minibatch.tensors)[1]
                self._datapoints[rows] = datapoints(sites, rows, self.row_scale)
        return self._datapoints[rows]

    def _finite_loss_and_grads(self, model: Any, guide: Any, *batch: Tensor) -> Any:
        # SVI calls this before the optimizer, so a loss that is not finite never changes a weight.
        loss = self.objective.loss_and_grads(model, guide, *batch)
        if not math.isfinite(_number(loss)):
            raise FloatingPointError(f"the loss is {_number(loss)}")
        return loss


def _constant(value: float) -> Callable[[int], float]:
    if not 0 <= value < math.inf:
        raise ValueError(f"kl_weight is {value}; {_WEIGHT}")
    return lambda step: value


def _number(loss: Any) -> float:
    """Return a loss as a float; wake-sleep objectives return one for each of two steps."""
    return float(sum(loss)) if isinstance(loss, tuple) else float(loss)
