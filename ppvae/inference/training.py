"""`fit`: the loop over steps of Pyro's SVI, and what it leaves behind."""

import functools
import math
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast

import torch
import xarray as xr
from pyro.infer import ELBO, SVI, Trace_ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from ppvae.batches import Batch, Data, as_batch, chunks
from ppvae.data import Dataset
from ppvae.inference.failure import explain
from ppvae.inference.history import Record, as_dataset, datapoints, terms
from ppvae.inference.kl_weight import LatentScale
from ppvae.inference.minibatches import Minibatches, Stream, minibatches
from ppvae.inference.optimizers import Constructor, JointOptim
from ppvae.isolation import isolated, seeded
from ppvae.parameters import announce, collect
from ppvae.traces import Pair, run

KLWeight: TypeAlias = float | Callable[[int], float]
Schedule: TypeAlias = Callable[[torch.optim.Optimizer], LRScheduler]
Snapshot: TypeAlias = dict[str, Tensor]


class Callback(Protocol):
    """Called with the training after every evaluation, and once more when it has ended."""

    def __call__(self, training: "Training") -> bool | None:
        """Return True to stop."""


@dataclass(frozen=True)
class Fit:
    """What `fit` returns.

    Args:
        pair: the trained pair, the same object that was passed.
        history: one entry an evaluation, over `step`: `epoch`, `seconds`, `learning_rate`,
            `kl_weight`, `loss` (the objective, running mean over the epoch), and
            `train_*` and `validation_*` of `loss`, `elbo`, `reconstruction`, `kl`; nats per
            datapoint.
        steps: number of optimizer steps taken.
        reason: "finished", "stopped" by a callback, or "interrupted" from the keyboard.
    """

    pair: Pair
    history: xr.Dataset
    steps: int
    reason: str


class Diverged(FloatingPointError):
    """Training met a NaN or infinite loss; `fit` holds what was kept.

    The pair has the weights of the last evaluation point whose loss was finite.
    """

    def __init__(self, message: str, fit: Fit) -> None:
        super().__init__(message)
        self.fit = fit


class Training:
    """A training under way, as callbacks see it.

    Args:
        pair: the pair that is trained.
        parameters: its unconstrained parameters by name, wherever they live.
        total_steps: the step at which training ends, if known.
    """

    def __init__(self, pair: Pair, parameters: dict[str, Tensor], total_steps: int | None) -> None:
        self.pair = pair
        self.parameters = parameters
        self.total_steps = total_steps
        self.step = 0
        self.epoch = 0
        self.records: list[Record] = []
        self.ended = False

    def snapshot(self) -> Snapshot:
        """Return a copy of all parameters and buffers."""
        return {name: tensor.detach().clone() for name, tensor in self._tensors()}

    def restore(self, snapshot: Snapshot) -> None:
        """Put a copy of parameters and buffers back."""
        with torch.no_grad():
            for name, tensor in self._tensors():
                tensor.copy_(snapshot[name])

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.parameters.items()
        if isinstance(self.pair, nn.Module):
            yield from ((f"buffer {name}", buffer) for name, buffer in self.pair.named_buffers())


def fit(
    pair: Pair,
    data: Data | Iterable[Any],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    validation: Data | None = None,
    objective: ELBO | None = None,
    optimizer: Constructor | PyroOptim = functools.partial(torch.optim.Adam, lr=1e-3),
    schedule: Schedule | None = None,
    kl_weight: KLWeight = 1.0,
    clip_norm: float | None = None,
    callbacks: Sequence[Callback] = (),
    seed: int = 0,
    device: str | torch.device | None = None,
    progress: bool | None = None,
) -> Fit:
    """Train a pair by stochastic variational inference, with `pyro.infer.SVI`.

    Maximises the right side of formula (2), E_Q[log P(X|z)] - KL[Q(z|X) || P(z)], over minibatches
    (Hoffman et al., "Stochastic Variational Inference", 2013; Kingma and Welling, "Auto-Encoding
    Variational Bayes", 2014).

    The pair is trained in place. The same seed gives the same result bit for bit on the same
    machine with the same number of threads; the caller's random state is left as it was. The
    keyboard's interrupt ends training and keeps what there is.

    Args:
        pair: an object with `model(*batch)` and `guide(*batch)` in plain Pyro.
        data: a tensor or array `(data, *event)`, a tuple of such, a dataset (its training split
            is fitted, its validation split validates), or an iterable of batches such as a
            `DataLoader`. Floating values are cast to the pair's dtype.
        epochs: number of passes over the data; 100 unless `steps` is given.
        steps: number of optimizer steps, instead of epochs.
        batch_size: rows of a minibatch; 128, or all rows if there are fewer.
        validation: held-out data, evaluated after every epoch.
        objective: any `pyro.infer.ELBO`; `Trace_ELBO()` unless given.
        optimizer: called with the parameters, returns a torch optimizer; or a `PyroOptim`.
        schedule: called with the torch optimizer, returns a torch learning-rate schedule, stepped
            once an epoch (`ReduceLROnPlateau` with the validation loss).
        kl_weight: weight of the latent sites in the objective, a number or a function of the step
            such as `LinearWarmup`; validation always has weight 1.
        clip_norm: bound on the norm of the gradient of a minibatch's summed loss.
        callbacks: called with the `Training` after every epoch; one that returns True stops it.
        seed: of every random number drawn here.
        device: where to move pair and data; where the pair is, unless given.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        ValueError: on data, sizes or a pair that cannot be trained; the message says why.
        TypeError: on data that are neither arrays nor batches.
        Diverged: on a NaN or infinite loss, with step, site and likely cause.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = ppvae.fit(pairs.assemble(digits, latent=2), digits, epochs=2)
        >>> list(result.history.step.values)
        [12, 24]
    """
    if device is not None:
        if not isinstance(pair, nn.Module):
            raise ValueError("device needs a pair that is an nn.Module; move the data yourself")
        pair.to(device)
    if isinstance(data, Dataset) and validation is None:
        validation = as_batch(data, pair, split="validation")
    held_out = (
        None
        if validation is None
        else as_batch(validation, pair, split="validation", argument="validation")
    )
    batches = minibatches(data, pair, batch_size)
    epochs, steps = _length(epochs, steps)
    with seeded(seed), warnings.catch_warnings():
        # A loss that is not finite stops training; Pyro's warning of it would come on top.
        warnings.filterwarnings("ignore", message="Encountered")
        loop = _Loop(pair, batches, held_out, objective or Trace_ELBO(), kl_weight)
        loop.prepare(optimizer, schedule, clip_norm, epochs, steps)
        return loop.run(callbacks, seed, progress)


class _Loop:
    """The state of one call of `fit`."""

    def __init__(
        self,
        pair: Pair,
        batches: Minibatches | Stream,
        validation: Batch | None,
        objective: ELBO,
        kl_weight: KLWeight,
    ) -> None:
        self.pair = pair
        self.batches = batches
        self.validation = validation
        self.objective = objective
        self.kl_weight = kl_weight if callable(kl_weight) else _constant(kl_weight)
        self.scaled = LatentScale()

    def prepare(
        self,
        optimizer: Constructor | PyroOptim,
        schedule: Schedule | None,
        clip_norm: float | None,
        epochs: int | None,
        steps: int | None,
    ) -> None:
        self.epochs, self.steps = epochs, steps
        pair, self.example = self.pair, self.batches.example()
        with isolated(pair, seed=0):
            _check_objective(run(pair, self.example), self.objective)
            parameters = collect(lambda: run(pair, self.example))
        own = _own_parameters(pair)
        known = {id(parameter) for parameter in parameters.values()}
        silent = {name: p for name, p in own.items() if id(p) not in known}
        parameters |= silent
        if not parameters:
            raise ValueError(
                "the pair has no parameters to train; make it an nn.Module, or use pyro.param or "
                "pyro.module in its model and guide"
            )
        # A stranger's nn.Module need not announce what it trains: it is done here.
        self.model = _announcing(pair, pair.model) if silent else pair.model
        self.guide = _announcing(pair, pair.guide) if silent else pair.guide
        if isinstance(optimizer, PyroOptim):
            if schedule is not None or clip_norm is not None:
                raise ValueError(
                    "schedule and clip_norm need a torch optimizer; pass its constructor as "
                    "optimizer, not a PyroOptim"
                )
            self.optim, self.torch_optimizer = optimizer, None
        else:
            self.optim = JointOptim(optimizer, parameters, clip_norm=clip_norm)
            self.torch_optimizer = self.optim.optimizer
        self.schedule = (
            schedule(self.torch_optimizer) if schedule and self.torch_optimizer else None
        )
        if isinstance(self.schedule, ReduceLROnPlateau) and self.validation is None:
            raise ValueError("ReduceLROnPlateau needs validation data; pass validation=x")
        self.svi = SVI(
            self.scaled(self.model),
            self.scaled(self.guide),
            self.optim,
            loss=self.objective.loss,
            loss_and_grads=self._finite_loss_and_grads,
        )
        self.plain = SVI(self.model, self.guide, self.optim, loss=self.objective)
        self.training = Training(
            pair, parameters, steps or self.batches.steps_per_epoch(epochs or 0)
        )

    def run(self, callbacks: Sequence[Callback], seed: int, progress: bool | None) -> Fit:
        training = self.training
        started = time.perf_counter()
        reason = "finished"
        good, batch = training.snapshot(), self.example
        bar = tqdm(
            total=None if training.total_steps is None else self._rows_ahead(),
            unit=" samples",
            unit_scale=True,
            disable=None if progress is None else not progress,
            leave=False,
        )
        try:
            while not self._complete():
                loss, rows = 0.0, 0
                pending: Snapshot | None = training.snapshot()
                for batch in self.batches:
                    step_loss = self._step(batch)
                    if pending is not None:  # the loss of these weights turned out finite
                        good, pending = pending, None
                    loss += step_loss * len(batch[0])
                    rows += len(batch[0])
                    bar.update(len(batch[0]))
                    if training.step % 50 == 1:
                        bar.set_postfix(loss=f"{loss / rows:.4g}", refresh=False)
                    if training.step == self.steps:
                        break
                if rows == 0:
                    raise ValueError(
                        "data yields no batch; pass a list or DataLoader, which can "
                        "be iterated more than once, not a generator"
                    )
                training.epoch += 1
                self._evaluate(loss / rows, time.perf_counter() - started, seed)
                if any([callback(training) for callback in callbacks]):
                    reason = "stopped"
                    break
        except KeyboardInterrupt:
            reason = "interrupted"
        except (FloatingPointError, ValueError) as error:
            cause = explain(self.pair, batch, error)
            training.restore(good)
            if cause is None:
                raise
            message = (
                f"step {training.step + 1}: {cause} The weights are those of the last epoch that "
                "began with a finite loss."
            )
            raise Diverged(message, self._result("diverged")) from error
        finally:
            bar.close()
            for parameter in training.parameters.values():
                parameter.grad = None
        training.ended = True
        for callback in callbacks:
            callback(training)
        return self._result(reason)

    def _result(self, reason: str) -> Fit:
        return Fit(self.pair, as_dataset(self.training.records), self.training.step, reason)

    def _complete(self) -> bool:
        if self.steps is not None:
            return self.training.step >= self.steps
        return self.training.epoch >= cast(int, self.epochs)

    def _rows_ahead(self) -> int | None:
        rows = self.batches.rows
        if rows is None:
            return None
        if self.epochs is not None:
            return rows * self.epochs
        return rows * cast(int, self.steps) // cast(int, self.batches.steps_per_epoch(1))

    def _step(self, batch: Batch) -> float:
        self.scaled.weight.fill_(self.kl_weight(self.training.step))
        loss = self.svi.step(*batch)
        self.training.step += 1
        return _number(loss) / self._datapoints(batch)

    def _finite_loss_and_grads(self, model: Any, guide: Any, *batch: Tensor) -> Any:
        # Called by SVI before the optimizer, so that a bad loss never moves a weight.
        loss = self.objective.loss_and_grads(model, guide, *batch)
        if not math.isfinite(_number(loss)):
            raise FloatingPointError(f"the loss is {_number(loss)}")
        return loss

    @functools.cached_property
    def _counts(self) -> dict[int, float]:
        return {}

    def _datapoints(self, batch: Batch) -> float:
        rows = len(batch[0])
        if rows not in self._counts:
            with isolated(self.pair, seed=0):
                self._counts[rows] = datapoints(run(self.pair, batch)[1], rows)
        return self._counts[rows]

    def _evaluate(self, loss: float, seconds: float, seed: int) -> None:
        training = self.training
        record: Record = {
            "step": training.step,
            "epoch": training.epoch,
            "seconds": seconds,
            "kl_weight": float(self.scaled.weight),
            "train_loss": loss,
        }
        if self.torch_optimizer is not None:
            record["learning_rate"] = float(self.torch_optimizer.param_groups[0]["lr"])
        record |= self._measure("train", self.batches.monitored(), seed)
        if self.validation is not None:
            with isolated(self.pair, seed=seed):
                record["validation_loss"] = self._mean(self._evaluate_loss, self.validation)
            record |= self._measure("validation", self.validation, seed)
            # Without terms, as for a pair that sums out latents, the objective is the ELBO.
            record.setdefault("validation_elbo", -record["validation_loss"])
        training.records.append(record)
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(record["validation_loss"])
        elif self.schedule is not None:
            self.schedule.step()

    def _evaluate_loss(self, batch: Batch) -> float:
        return _number(self.plain.evaluate_loss(*batch)) / self._datapoints(batch)

    def _mean(self, function: Callable[[Batch], float], batch: Batch) -> float:
        total = sum(function(chunk) * len(chunk[0]) for chunk in chunks(batch, self.batches.chunk))
        return total / len(batch[0])

    def _measure(self, split: str, batch: Batch, seed: int) -> Record:
        measured: list[tuple[int, Record]] = []
        with isolated(self.pair, seed=seed):
            for chunk in chunks(batch, self.batches.chunk):
                measured.append((len(chunk[0]), terms(self.pair, chunk)))
        return {
            f"{split}_{name}": sum(rows * record[name] for rows, record in measured)
            / len(batch[0])
            for name in measured[0][1]
        }


def _length(epochs: int | None, steps: int | None) -> tuple[int | None, int | None]:
    if epochs is not None and steps is not None:
        raise ValueError(f"pass epochs or steps, not both; got {epochs} and {steps}")
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return (100, None) if epochs is None and steps is None else (epochs, steps)


def _check_objective(sites: tuple[Any, Any], objective: ELBO) -> None:
    guide, model = sites
    for name, site in model.items():
        if not site["is_observed"] and name not in guide and type(objective) is Trace_ELBO:
            raise ValueError(
                f"latent site {name!r} of the model is missing from the guide; sample it there, "
                "or pass objective=TraceEnum_ELBO() to sum it out"
            )


def _own_parameters(pair: Pair) -> dict[str, Tensor]:
    if not isinstance(pair, nn.Module):
        return {}
    return {name: p for name, p in pair.named_parameters() if p.requires_grad}


def _announcing(pair: Any, program: Callable[..., Any]) -> Callable[..., Any]:
    def announced(*batch: Tensor) -> Any:
        announce(pair)
        return program(*batch)

    return announced


def _constant(value: float) -> Callable[[int], float]:
    if not 0 <= value < math.inf:
        raise ValueError(f"kl_weight must be a finite number of at least 0, got {value}")
    return lambda step: value


def _number(loss: Any) -> float:
    """Return a loss as a float; wake-sleep objectives return one for each of two steps."""
    return float(sum(loss)) if isinstance(loss, tuple) else float(loss)
