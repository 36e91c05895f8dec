"""One step of training and one evaluation of its objective, in nats per datapoint."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyro.infer import ELBO, SVI, TraceEnum_ELBO
from pyro.optim import PyroOptim
from torch import Tensor

from ppvae.engine import Adapted, Pair, Processes, Unsupported, isolated, run_pair
from ppvae.engine.compilation import multiply_each
from ppvae.inference.history import datapoints
from ppvae.inference.objectives import StickingTheLandingEnum_ELBO
from ppvae.inference.row_scale import RowScale
from ppvae.inference.steps.joint_gradients import JointGradients
from ppvae.inference.steps.kl_weight import KLWeight
from ppvae.inference.steps.minibatches import Minibatch
from ppvae.inference.steps.optimizers import JointOptim

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

    Attributes:
        joint: adds up the gradients of several processes, from `share` on.

    Raises:
        ValueError: if a constant `kl_weight` is negative or not finite, or one other than 1 meets
            Pyro's objective that sums latents out.
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
        weighs_sites = not isinstance(objective, TraceEnum_ELBO)
        if kl_weight != 1 and not (
            weighs_sites or isinstance(objective, StickingTheLandingEnum_ELBO)
        ):
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
        self.joint: JointGradients | None = None
        self._datapoints: dict[int, float] = {}
        self._minibatch: Minibatch | None = None  # that of the step under way

    def share(
        self,
        processes: Processes,
        parameters: Mapping[str, Tensor],
        example: Minibatch,
        parts: int,
    ) -> None:
        """Take the rows of a minibatch in parts.

        Args:
            processes: those that share it.
            parameters: the unconstrained parameters by name.
            example: a minibatch of two rows or more.
            parts: in how many parts each process takes its rows.
        """
        counts = {self.own_datapoints(example.start(rows)) for rows in (1, 2)}
        self.joint = JointGradients(processes, [*parameters.values()], len(counts) == 1, parts)

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
        self._minibatch = minibatch
        # Of rows that are taken in parts, no tensor of all is needed.
        rows = minibatch.tensors if self.joint is None else ()
        return _number(self.weighted.step(*rows))

    def differentiated(self, minibatch: Minibatch) -> tuple[float, list[Tensor | None]]:
        """Return loss and gradients of this process's rows; nothing is changed or sent."""
        assert self.joint is not None
        self.take_form(minibatch)
        parameters = self.joint.parameters
        try:
            loss = self._loss_and_grads(*self.programs, minibatch)
            return loss, [parameter.grad for parameter in parameters]
        finally:
            for parameter in parameters:
                parameter.grad = None

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
        return loss / self.own_datapoints(minibatch)

    def datapoints(self, minibatch: Minibatch) -> float:
        """Return how many datapoints the loss of the step just taken is summed over."""
        return self.own_datapoints(minibatch) if self.joint is None else self.joint.datapoints

    def own_datapoints(self, minibatch: Minibatch) -> float:
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
        if self.joint is not None:
            return self._joint_loss_and_grads(model, guide)
        loss = self.objective.loss_and_grads(model, guide, *batch)
        if not math.isfinite(_number(loss)):
            raise FloatingPointError(f"the loss is {_number(loss)}")
        return loss

    def _joint_loss_and_grads(self, model: Any, guide: Any) -> float:
        """Return the loss of all parts of the minibatch; parameters get the sum of gradients."""
        joint, minibatch = self.joint, self._minibatch
        assert joint is not None and minibatch is not None
        if isinstance(self.optim, JointOptim) and self.optim.number > len(joint.parameters):
            raise Unsupported(
                "a parameter was created after the first batch; several processes, or parts of a "
                "minibatch, train those only that the first batch announces"
            )
        failure: Exception | None = None
        loss, count = 0.0, 0.0
        parts = minibatch.divided(joint.parts)
        try:
            for part, weight in zip(parts, joint.weights(parts), strict=True):
                # What is there already is divided and then multiplied: the new part counts so.
                _multiply(joint.parameters, 1 / weight)
                loss += weight * self._loss_and_grads(model, guide, part)
                _multiply(joint.parameters, weight)
                count += weight * self.own_datapoints(part)
        except Exception as error:  # other processes must hear of it
            loss, failure = math.nan, error
        if joint.processes.several:
            gradients = [parameter.grad for parameter in joint.parameters]
            message = joint.message(gradients)
            has = [gradient is not None for gradient in gradients]
            loss = joint.exchange(message, has, loss, count, minibatch)
            for parameter, joined in zip(joint.parameters, joint.gradients(message), strict=True):
                parameter.grad = joined
        else:
            joint.datapoints = count
        if failure is not None:
            raise failure
        if not math.isfinite(loss):
            raise FloatingPointError(f"the loss is {loss}")
        return loss

    def _loss_and_grads(self, model: Any, guide: Any, minibatch: Minibatch) -> float:
        return _number(self.objective.loss_and_grads(model, guide, *minibatch.tensors))


def _multiply(parameters: Sequence[Tensor], factor: float) -> None:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients and factor != 1:
        multiply_each(gradients, factor)


def _constant(value: float) -> Callable[[int], float]:
    if not 0 <= value < math.inf:
        raise ValueError(f"kl_weight is {value}; {_WEIGHT}")
    return lambda step: value


def _number(loss: Any) -> float:
    """Return a loss as a float; wake-sleep objectives return one for each of two steps."""
    return float(sum(loss)) if isinstance(loss, tuple) else float(loss)
