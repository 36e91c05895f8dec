"""The loop over epochs of steps: evaluations between them, checkpoints at any time."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tqdm import tqdm

from ppvae.engine import Batch, isolated, random_state, row_chunks, set_random_state
from ppvae.inference.failure import explain
from ppvae.inference.history import Record, as_dataset, terms
from ppvae.inference.persistence import Checkpoints, State
from ppvae.inference.state import Callback, Diverged, Fit, Snapshot, Training
from ppvae.inference.steps import (
    CompiledSteps,
    JointOptim,
    Minibatch,
    Minibatches,
    monitored,
    row_chunk,
)

_EVALUATED = 10  # steps between evaluations at least, so that short epochs are not slowed by them


class Loop:
    """Epochs of steps, each with an evaluation at its end."""

    def __init__(
        self,
        training: Training,
        steps: CompiledSteps,
        batches: Minibatches,
        validation: Batch | None,
        schedule: LRScheduler | None,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
        seed: int,
    ) -> None:
        if isinstance(schedule, ReduceLROnPlateau) and validation is None:
            raise ValueError("ReduceLROnPlateau needs validation data; pass validation=x")
        self.training = training
        self.steps = steps
        self.batches = batches
        self.validation = validation
        self.schedule = schedule
        self.callbacks = callbacks
        self.checkpoints = checkpoints
        self.seed = seed
        self.chunk = row_chunk(batches)
        self.good: Snapshot = training.snapshot()
        self.batch = Minibatch(batches.first(2))  # where to look if it fails
        self.losses: list[tuple[int, float]] = []
        self.started = time.perf_counter()
        self.evaluated = 0  # the step of the last evaluation
        self.position = 0  # minibatches of the present epoch that are done
        self.begun: dict[str, Any] | None = None  # the random state with which it began
        self.reason = "finished"
        if checkpoints is not None and not isinstance(steps.optim, JointOptim):
            raise ValueError(
                "checkpoints need a torch optimizer: pass a constructor such as torch.optim.Adam "
                "as optimizer, not a PyroOptim, whose state goes by names it does not know"
            )

    def run(self, epochs: int | None, steps: int | None, progress: bool | None) -> Fit:
        """Train up to a number of epochs or steps, and say how it went."""
        training = self.training
        last_epoch = math.inf if epochs is None else epochs
        last_step = math.inf if steps is None else steps
        disable = None if progress is None else not progress
        with tqdm(
            total=self._rows(epochs, steps),
            unit=" samples",
            unit_scale=True,
            disable=disable,
            leave=False,
        ) as bar:
            bar.update(round(training.epoch * (self.batches.rows or 0)))
            try:
                over = self.reason == "stopped"  # before the checkpoint that was resumed from
                while training.step < last_step and training.epoch < last_epoch and not over:
                    self._epoch(last_step, bar)
                    over = training.step >= last_step or training.epoch >= last_epoch
                    if training.step - self.evaluated < _EVALUATED and not over:
                        continue
                    self._evaluate()
                    if any([callback(training) for callback in self.callbacks]):
                        self.reason, over = "stopped", True
                if self.checkpoints is not None:
                    self.checkpoints.write(training.step, self.state())
            except KeyboardInterrupt:
                self.reason = "interrupted"
                self._restore_finite()
            except (ArithmeticError, ValueError, RuntimeError) as error:
                self._restore_finite()  # where a bad gradient led says nothing of its cause
                cause = explain(training.pair, self.batch.tensors, error)
                if cause is None:
                    first, *more = str(error).strip().splitlines() or [""]
                    if not more:
                        raise
                    shape = tuple(self.batch.tensors[0].shape)  # Pyro adds a page about every site
                    raise ValueError(
                        f"step {training.step + 1}, on data of shape {shape}: {first}"
                    ) from error
                training.restore(self.good)
                self._end()
                raise Diverged(
                    f"step {training.step + 1}: {cause} The last good weights are kept.",
                    self._result("diverged"),
                ) from error
            finally:
                for parameter in training.parameters.values():
                    parameter.grad = None
        self._end()
        return self._result(self.reason)

    def _restore_finite(self) -> None:
        """Take the last good weights where a compiled step left some that are not finite."""
        if not self.training.finite():
            self.training.restore(self.good)

    def _end(self) -> None:
        self.training.ended = True
        for callback in self.callbacks:
            callback(self.training)

    def state(self) -> State:
        """Return all that the next step depends on."""
        training, optim = self.training, self.steps.optim
        return {
            "made of": self._made_of(),
            "step": training.step,
            "epoch": training.epoch,
            "position": self.position,
            "evaluated": self.evaluated,
            "losses": self.losses,
            "kl_weight": float(self.steps.kl_weight.value),
            "switched": self.steps.compiled_from,
            "reason": self.reason,
            "seconds": time.perf_counter() - self.started,
            "records": training.records,
            "weights": training.snapshot(),
            "good": self.good,
            "optimizer": optim.get_state(),
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "callbacks": [
                callback.state_dict() if hasattr(callback, "state_dict") else None
                for callback in self.callbacks
            ],
            "begun": self.begun,
            "random": random_state(),
        }

    def restore(self, checkpoints: Checkpoints) -> None:
        """Go on from a checkpoint.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: if it is damaged, or that of another training.
        """
        state = checkpoints.read()
        training = self.training
        try:
            for what, now in self._made_of().items():
                if state["made of"][what] != now:
                    raise ValueError(
                        f"{checkpoints.folder} is the checkpoint of another training, with "
                        f"{what} {state['made of'][what]}, not {now}"
                    )
            self.steps.optim.set_state(state["optimizer"])
            if self.schedule is not None:
                self.schedule.load_state_dict(state["schedule"])
            for callback, remembered in zip(self.callbacks, state["callbacks"], strict=True):
                if remembered is not None and hasattr(callback, "load_state_dict"):
                    callback.load_state_dict(remembered)
            training.restore(state["weights"])
            training.step, training.epoch = state["step"], state["epoch"]
            training.records.extend(state["records"])
            self.good, self.losses = state["good"], state["losses"]
            self.position, self.evaluated = state["position"], state["evaluated"]
            self.begun, self.reason = state["begun"], state["reason"]
            self.steps.kl_weight.value.fill_(state["kl_weight"])
            self.steps.resume(state.get("switched"))
            self.started -= state["seconds"]
            set_random_state(state["random"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"the checkpoint in {checkpoints.folder} does not fit this training: {error}"
            ) from error

    def _made_of(self) -> dict[str, Any]:
        """Return what must be the same for a training to go on."""
        return {
            "parameters": {
                name: list(tensor.shape) for name, tensor in self.training.parameters.items()
            },
            "rows of data": self.batches.rows,
            "steps an epoch": self.batches.steps,
            "seed": self.seed,
            "optimizer": type(self.steps.optim.optimizer).__name__,
            "schedule": type(self.schedule).__name__,
            "number of callbacks": len(self.callbacks),
        }

    def _result(self, reason: str) -> Fit:
        training = self.training
        history = as_dataset(training.records)
        steps = self.steps
        return Fit(
            training.pair, history, training.step, reason, steps.compiled_from, steps.report
        )

    def _rows(self, epochs: int | None, steps: int | None) -> int | None:
        """Return the rows of the whole training, for the progress bar."""
        if self.batches.rows is None or self.batches.steps is None:
            return None
        passes = (steps or 0) / self.batches.steps if epochs is None else epochs
        return round(self.batches.rows * passes)

    def _epoch(self, last: float, bar: Any) -> None:
        """Take the steps of one pass over the data, or those that remain of it."""
        training = self.training
        self.steps.check()
        start: Snapshot | None = training.snapshot()
        self.steps.renew()
        for batch in self._remaining():
            self.batch = batch
            self.losses.append((batch.rows, self.steps.step(training.step, batch)))
            training.step += 1
            self.position += 1
            if start is not None:  # the loss of the weights it began with turned out finite
                self.good, start = start, None
            if not bar.disable:
                bar.set_postfix(loss=f"{self.losses[-1][1]:.4g}", refresh=False)
                bar.update(batch.rows)
            if self.checkpoints is not None and self.checkpoints.due:
                self.steps.check()
                self.checkpoints.write(training.step, self.state())
            if training.step >= last and self.position != self.batches.steps:
                return
        self.position, self.begun = 0, None
        training.epoch += 1
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()

    def _remaining(self) -> Iterator[Minibatch]:
        """Yield the minibatches of an epoch, without those that an earlier process has done."""
        if self.position == 0:
            if self.checkpoints is not None:
                self.begun = random_state()
            yield from self.batches
            return
        # The same order comes from the same random state; then the numbers go on where they were.
        now = random_state()
        if self.begun is not None:
            set_random_state(self.begun)
        batches = iter(self.batches)
        done = list(itertools.islice(batches, self.position))
        if len(done) < self.position:
            raise ValueError(
                f"data yields {len(done)} batches; the checkpoint was made after {self.position} "
                "of them"
            )
        set_random_state(now)
        yield from batches

    def _evaluate(self) -> None:
        self.steps.check()
        self.evaluated = self.training.step
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
        broken = [name for name, value in record.items() if not math.isfinite(value)]
        if broken:
            raise FloatingPointError(f"{broken[0]} is {record[broken[0]]}")
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
        for chunk in row_chunks(batch, self.chunk):
            self.batch = Minibatch(chunk)
            yield chunk


def _mean(values: list[tuple[int, float]]) -> float:
    """Return the mean of per-datapoint values, each weighted by its rows."""
    return sum(rows * value for rows, value in values) / sum(rows for rows, _ in values)
