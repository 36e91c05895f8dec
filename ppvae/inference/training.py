"""`fit`: the loop over steps of Pyro's SVI."""

import functools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from ppvae.batches import Batch, Data, as_batch, chunks
from ppvae.data import Dataset
from ppvae.inference.failure import explain
from ppvae.inference.history import Record, as_dataset, terms
from ppvae.inference.minibatches import Minibatches, minibatches, monitored, row_chunk
from ppvae.inference.optimizers import Constructor, JointOptim
from ppvae.inference.state import Callback, Diverged, Fit, Snapshot, Training
from ppvae.inference.steps import Steps
from ppvae.isolation import isolated, seeded
from ppvae.parameters import announce, collect
from ppvae.traces import Pair, Sites, run

Schedule: TypeAlias = Callable[[torch.optim.Optimizer], LRScheduler]
_ADAM = functools.partial(torch.optim.Adam, lr=1e-3)
_EVALUATED = 10  # steps between evaluations at least, so that short epochs are not slowed by them


def fit(
    pair: Pair,
    data: Data | Iterable[Any],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    validation: Data | None = None,
    objective: ELBO | None = None,
    optimizer: Constructor | PyroOptim = _ADAM,
    schedule: Schedule | None = None,
    kl_weight: float | Callable[[int], float] = 1.0,
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
        validation: held-out data, evaluated whenever training is: after every epoch, or after
            as many as have 10 steps, and at the end.
        objective: any `pyro.infer.ELBO`; `Trace_ELBO()` unless given.
        optimizer: called with the parameters, returns a torch optimizer; or a `PyroOptim`. Adam
            with learning rate 1e-3 unless given.
        schedule: called with the torch optimizer, returns a torch learning-rate schedule, stepped
            once an epoch (`ReduceLROnPlateau`: once an evaluation, with the validation loss).
        kl_weight: weight of the latent sites in the objective, a number or a function of the step
            such as `LinearWarmup`; validation always has weight 1.
        clip_norm: bound on the norm of the gradient of a minibatch's summed loss.
        callbacks: called with the `Training` after every evaluation, and once more when it has
            ended; one that returns True stops it.
        seed: of every random number drawn here.
        device: where to move pair and data; where the pair is, unless given.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        The trained pair and its history.

    Raises:
        ValueError: on data, sizes or a pair that cannot be trained; the message says why.
        TypeError: on data that are neither arrays nor batches.
        Diverged: on a NaN or infinite loss, with step, site and likely cause.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> result = ppvae.fit(pairs.assemble(digits, latent=2), digits, epochs=2)
        >>> result.steps, result.history.sizes["step"]
        (24, 2)
    """
    epochs, steps = _length(epochs, steps)
    if device is not None:
        if not isinstance(pair, nn.Module):
            raise ValueError("device needs a pair that is an nn.Module; move the data yourself")
        try:
            pair.to(device)
        except (RuntimeError, AssertionError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"device {str(device)!r} cannot be used: {reason}") from error
    batches = minibatches(data, pair, batch_size)
    if validation is None and isinstance(data, Dataset):
        validation = data
    held_out = None
    if validation is not None:
        held_out = as_batch(validation, pair, split="validation", argument="validation")
    with seeded(seed), warnings.catch_warnings():
        # A loss that is not finite stops training; Pyro's warning of it would come on top.
        warnings.filterwarnings("ignore", message="Encountered")
        model, guide, parameters = _programs(pair, batches.first(128), objective)
        if isinstance(optimizer, PyroOptim):
            if schedule is not None or clip_norm is not None:
                raise ValueError(
                    "schedule and clip_norm need a torch optimizer: pass a constructor such as "
                    "torch.optim.Adam as optimizer, not a PyroOptim"
                )
            optim = optimizer
        else:
            optim = JointOptim(optimizer, parameters, clip_norm=clip_norm)
        loop = _Loop(
            training=Training(pair, parameters),
            steps=Steps(pair, model, guide, objective or Trace_ELBO(), optim, kl_weight),
            batches=batches,
            validation=held_out,
            schedule=None if schedule is None else schedule(optim.optimizer),
            seed=seed,
        )
        return loop.run(epochs, steps, callbacks, progress)


class _Loop:
    """Epochs of steps, each with an evaluation at its end."""

    def __init__(
        self,
        training: Training,
        steps: Steps,
        batches: Minibatches,
        validation: Batch | None,
        schedule: LRScheduler | None,
        seed: int,
    ) -> None:
        if isinstance(schedule, ReduceLROnPlateau) and validation is None:
            raise ValueError("ReduceLROnPlateau needs validation data; pass validation=x")
        self.training = training
        self.steps = steps
        self.batches = batches
        self.validation = validation
        self.schedule = schedule
        self.seed = seed
        self.chunk = row_chunk(batches)
        self.good: Snapshot = training.snapshot()
        self.batch = batches.first(2)
        self.losses: list[tuple[int, float]] = []
        self.started = time.perf_counter()

    def run(
        self,
        epochs: int | None,
        steps: int | None,
        callbacks: Sequence[Callback],
        progress: bool | None,
    ) -> Fit:
        training, reason = self.training, "finished"
        disable = None if progress is None else not progress
        with tqdm(
            total=self._rows(epochs, steps),
            unit=" samples",
            unit_scale=True,
            disable=disable,
            leave=False,
        ) as bar:
            try:
                evaluated = 0
                while training.step != steps and training.epoch != epochs:
                    self._epoch(steps, bar)
                    over = training.step == steps or training.epoch == epochs
                    if training.step - evaluated < _EVALUATED and not over:
                        continue
                    evaluated = training.step
                    self._evaluate()
                    if any([callback(training) for callback in callbacks]):
                        reason = "stopped"
                        break
            except KeyboardInterrupt:
                reason = "interrupted"
            except (FloatingPointError, ValueError) as error:
                cause = explain(training.pair, self.batch, error)
                if cause is None:
                    raise
                training.restore(self.good)
                raise Diverged(
                    f"step {training.step + 1}: {cause} The weights are those with which the last "
                    "epoch began that began with a finite loss.",
                    self._result("diverged"),
                ) from error
            finally:
                for parameter in training.parameters.values():
                    parameter.grad = None
                training.ended = True
        for callback in callbacks:
            callback(training)
        return self._result(reason)

    def _result(self, reason: str) -> Fit:
        training = self.training
        return Fit(training.pair, as_dataset(training.records), training.step, reason)

    def _rows(self, epochs: int | None, steps: int | None) -> int | None:
        """Return the rows of the whole training, for the progress bar."""
        if self.batches.rows is None or self.batches.steps is None:
            return None
        passes = (steps or 0) / self.batches.steps if epochs is None else epochs
        return round(self.batches.rows * passes)

    def _epoch(self, last: int | None, bar: Any) -> None:
        training = self.training
        begun: Snapshot | None = training.snapshot()
        for batch in self.batches:
            self.batch = batch
            self.losses.append((len(batch[0]), self.steps.step(training.step, batch)))
            training.step += 1
            if begun is not None:  # the loss of the weights it began with turned out finite
                self.good, begun = begun, None
            bar.set_postfix(loss=f"{self.losses[-1][1]:.4g}", refresh=False)
            bar.update(len(batch[0]))
            if training.step == last:
                break
        training.epoch += 1
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()

    def _evaluate(self) -> None:
        record: Record = {
            "step": self.training.step,
            "epoch": self.training.epoch,
            "seconds": time.perf_counter() - self.started,
            "kl_weight": float(self.steps.kl_weight.value),
            "train_loss": _mean(self.losses),
        }
        self.losses.clear()
        if isinstance(self.steps.optim, JointOptim) and self.steps.optim.optimizer is not None:
            record["learning_rate"] = float(self.steps.optim.optimizer.param_groups[0]["lr"])
        record |= self._measure("train", monitored(self.batches))
        if self.validation is not None:
            record["validation_loss"] = self._loss(self.validation)
            record |= self._measure("validation", self.validation)
            # Without terms, as for a pair that sums out latents, the objective is the ELBO.
            record.setdefault("validation_elbo", -record["validation_loss"])
        self.training.records.append(record)
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(record["validation_loss"])

    def _loss(self, batch: Batch) -> float:
        with isolated(self.training.pair, self.seed):
            return _mean(
                [(len(chunk[0]), self.steps.evaluate(chunk)) for chunk in self._chunks(batch)]
            )

    def _measure(self, split: str, batch: Batch) -> Record:
        with isolated(self.training.pair, self.seed):
            measured = [
                (len(chunk[0]), terms(self.training.pair, chunk)) for chunk in self._chunks(batch)
            ]
        return {
            f"{split}_{name}": _mean([(rows, record[name]) for rows, record in measured])
            for name in measured[0][1]
        }

    def _chunks(self, batch: Batch) -> Iterator[Batch]:
        for chunk in chunks(batch, self.chunk):
            self.batch = chunk  # where to look if it fails
            yield chunk


def _mean(values: list[tuple[int, float]]) -> float:
    """Return the mean of per-datapoint values, each weighted by its rows."""
    return sum(rows * value for rows, value in values) / sum(rows for rows, _ in values)


def _programs(
    pair: Pair, example: Batch, objective: ELBO | None
) -> tuple[Callable[..., Any], Callable[..., Any], dict[str, Tensor]]:
    """Return model, guide and their parameters by name, every one of them announced to Pyro."""
    sites: list[tuple[Sites, Sites]] = []
    try:
        with isolated(pair, seed=0):
            parameters = collect(lambda: sites.append(run(pair, example)))
    except ValueError as error:
        cause = explain(pair, example, error)
        raise (error if cause is None else ValueError(f"before training, {cause}")) from error
    _check_objective(*sites[0], objective)
    known = {id(parameter) for parameter in parameters.values()}
    silent = {
        name: parameter
        for name, parameter in (pair.named_parameters() if isinstance(pair, nn.Module) else ())
        if parameter.requires_grad and id(parameter) not in known
    }
    if not parameters and not silent:
        raise ValueError(
            "the pair has no parameters to train; make it an nn.Module, or use pyro.param or "
            "pyro.module in its model and guide"
        )
    if not silent:
        return pair.model, pair.guide, parameters
    # A stranger's nn.Module need not announce what it trains: it is done here.
    return _announcing(pair, pair.model), _announcing(pair, pair.guide), parameters | silent


def _announcing(pair: Any, program: Callable[..., Any]) -> Callable[..., Any]:
    def announced(*batch: Tensor) -> Any:
        announce(pair)
        return program(*batch)

    return announced


def _check_objective(guide: Sites, model: Sites, objective: ELBO | None) -> None:
    for name, site in model.items():
        if site["is_observed"] or name in guide:
            continue
        if objective is None or type(objective) is Trace_ELBO:
            raise ValueError(
                f"latent site {name!r} of the model is missing from the guide; sample it there, "
                "or pass objective=TraceEnum_ELBO() to sum it out"
            )


def _length(epochs: int | None, steps: int | None) -> tuple[int | None, int | None]:
    if epochs is not None and steps is not None:
        raise ValueError(f"pass epochs or steps, not both; got {epochs} and {steps}")
    for name, value in (("epochs", epochs), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    return (100, None) if epochs is None and steps is None else (epochs, steps)
