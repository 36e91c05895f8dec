"""The loop over epochs of steps: evaluations between them, checkpoints at any time."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from ppvae.engine import Processes, noted, progress_bar, random_state, set_random_state
from ppvae.inference.errors import NotFinite, run_explained
from ppvae.inference.evaluation import Evaluation, mean
from ppvae.inference.failure import ADVICE
from ppvae.inference.history import Record, as_dataset
from ppvae.inference.interruption import Interruption
from ppvae.inference.learning_rate import LearningRate
from ppvae.inference.persistence import Checkpoints
from ppvae.inference.state import Callback, Diverged, Fit, Snapshot, Training
from ppvae.inference.steps import (
    CompiledSteps,
    JointGradients,
    JointOptim,
    Minibatch,
    Minibatches,
    after,
)
from ppvae.inference.training_state import TrainingState, name_of
from ppvae.inference.trend import EARLIER, Trend, trend_of

_MOST_STEPS = 10_000  # of a training whose length was not asked for and whose ELBO still rises
_BY_CALLBACK = "convergence not judged: a callback ended the training"
_EVALUATED = 10  # steps between evaluations at least, so that short epochs are not slowed by them


class Loop:
    """Epochs of steps, each with an evaluation at its end."""

    def __init__(
        self,
        training: Training,
        steps: CompiledSteps,
        batches: Minibatches,
        validation: Minibatch | None,
        rate: LearningRate,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
        seed: int,
        processes: Processes | None = None,
    ) -> None:
        if rate.on_evaluations and validation is None:
            raise ValueError("ReduceLROnPlateau needs validation data; pass validation=x")
        if checkpoints is not None and not isinstance(steps.optim, JointOptim):
            raise ValueError(
                "checkpoints need a torch optimizer: pass a constructor such as torch.optim.Adam "
                "as optimizer, not a PyroOptim, whose state goes by names it does not know"
            )
        self.training = training
        self.steps = steps
        self.batches = batches
        self.rate = rate
        self.callbacks = callbacks
        self.checkpoints = checkpoints
        self.interruption = Interruption()
        self.processes = processes or Processes()
        self.evaluation = Evaluation(training, steps, batches, validation, seed, self.processes)
        self.state = TrainingState(training, steps, batches, rate, callbacks, seed, self.processes)
        self.batch = Minibatch(
            batches.first(2), form=batches.form
        )  # of the last step, to explain its failure

    def run(
        self,
        epochs: int | None,
        steps: int | None,
        progress: bool | None,
        *,
        open_ended: bool = False,
    ) -> Fit:
        """Train up to a number of epochs or steps.

        Args:
            epochs: passes over the data.
            steps: steps, instead of passes.
            progress: show a progress bar.
            open_ended: go on as long as the ELBO rises, up to a total of 10,000 steps.

        Raises:
            Diverged: on a NaN or infinite loss or gradient.
            Terminated: after SIGTERM or SIGHUP; the state is saved.
            Exception: what a model, guide, callback, loader or schedule raises, with a note of the
                step; the weights are then finite.
        """
        training = self.training
        try:
            with self.interruption, self._progress_bar(epochs, steps, progress) as bar:
                self._train(
                    last_epoch=math.inf if epochs is None else epochs,
                    last_step=math.inf if steps is None else steps,
                    open_ended=open_ended,
                    bar=bar,
                )
        except KeyboardInterrupt:
            self.state.reason = "interrupted"
            training.restore_finite()
        except NotFinite as failure:
            training.restore(training.last_finite)
            self.state.reason = "diverged"
            self._end()
            raise Diverged(
                f"step {training.step + 1}: {failure} The last finite weights are kept.",
                self._result(),
                cause=str(failure).removesuffix(ADVICE).strip(),
            ) from failure.__cause__
        except Exception:
            training.restore_finite()
            raise
        finally:
            for parameter in training.parameters.values():
                parameter.grad = None
        self._end()
        result = self._result()
        self.interruption.end_program(result)
        return result

    def _train(self, last_epoch: float, last_step: float, open_ended: bool, bar: Any) -> None:
        """Take epochs with their evaluations, until enough or until a callback stops it."""
        training, state = self.training, self.state

        def enough() -> bool:
            if training.step < last_step and training.epoch < last_epoch:
                return False
            more = open_ended and training.step < _MOST_STEPS
            return not (more and trend_of(training.records).rising)

        # Before the checkpoint resumed from: it may be of the last step, before its evaluation.
        over = state.reason == "stopped" or (enough() and state.evaluated == training.step)
        while not over:
            if training.step < last_step or state.position == self.batches.steps:
                self._epoch(last_step, bar)
            if training.step - state.evaluated >= _EVALUATED or enough():
                self._evaluate()
                if any(self.processes.gathered(self._call_callbacks())):
                    state.reason, over = "stopped", True
            over = over or enough()
        self._write_checkpoint()
        if self.interruption.asked:  # during the last evaluation
            raise KeyboardInterrupt

    def _epoch(self, last_step: float, bar: Any) -> None:
        """Take the steps of one pass over the data, or those that remain of it."""
        training, state = self.training, self.state
        self._check_gradients()
        # Before any step the last finite weights are the present ones.
        start: Snapshot | None = training.snapshot() if training.step else None
        self.steps.check_changes()
        for batch in self._read():
            self._step(batch)
            if start is not None:  # the first loss is that of these weights, and it was finite
                training.last_finite, start = start, None
            if not bar.disable:
                bar.set_postfix(loss=f"{state.losses[-1][1]:.4g}", refresh=False)
                bar.update(batch.joint or batch.rows)
            asked = self._asked
            if asked or self._checkpoint_due:
                self._check_gradients()
                self._write_checkpoint()
            if asked:
                raise KeyboardInterrupt
            if training.step >= last_step and state.position != self.batches.steps:
                return
        if state.position == 0:
            self._write_checkpoint()
            raise ValueError(
                f"data yields no batch in epoch {training.epoch + 1}: it can be passed over only "
                f"once, and ended after {training.step} batches, one a step. Pass epochs=1 or "
                f"steps={training.step}, or data that can be read again, such as a list of batches"
            )
        state.position, state.epoch_random_state = 0, None
        training.epoch += 1
        with self._in_schedule:
            self.rate.after_epoch()

    @property
    def _together(self) -> JointGradients | None:
        """What several processes tell each other at a step; None for one process."""
        return self.steps.joint if self.processes.several else None

    @property
    def _asked(self) -> bool:
        """Whether training is to end after this step, for one process and so for all."""
        if self._together is not None:
            return self._together.interrupted
        return self.interruption.asked

    @property
    def _checkpoint_due(self) -> bool:
        """Whether a checkpoint is due after this step, for one process and so for all."""
        if self._together is not None:
            return self._together.checkpoint_due
        return self.checkpoints is not None and self.checkpoints.due(self.training.step)

    def _step(self, batch: Minibatch) -> None:
        training, state, together = self.training, self.state, self._together
        if together is not None:
            batch = batch.share(self.processes)
            together.interrupt = self.interruption.asked
            together.checkpoint = (
                self.processes.first
                and self.checkpoints is not None
                and self.checkpoints.due(training.step + 1)
            )
        self.batch = batch
        loss = run_explained(
            training, batch, self._next_step, self.steps.step, training.step, batch
        )
        state.losses.append((batch.joint or batch.rows, loss))
        training.step += 1
        state.position += 1
        with self._in_schedule:
            self.rate.after_step()

    def _check_gradients(self) -> None:
        """Raise `NotFinite` if a gradient of a compiled step was not finite."""
        run_explained(self.training, self.batch, self._next_step, self.steps.check)

    @property
    def _in_schedule(self) -> AbstractContextManager[None]:
        return noted(lambda: f"in the learning-rate schedule after step {self.training.step}")

    @property
    def _next_step(self) -> str:
        return f"at step {self.training.step + 1}"

    def _read(self) -> Iterator[Minibatch]:
        """Yield what remains of an epoch; an exception of the source gets a note."""
        minibatches = self._remaining()
        draws = True
        while True:
            number, epoch = self.state.position + 1, self.training.epoch + 1
            with noted(f"while reading batch {number} of epoch {epoch}"):
                # Changing random states at every step would take more time than a message.
                with self.processes.reading() if draws else nullcontext():
                    batch = next(minibatches, None)
            draws = not self.batches.drawn_at_start
            if batch is None:
                return
            yield batch

    def _remaining(self) -> Iterator[Minibatch]:
        """Yield the minibatches of an epoch, without those that an earlier process has done."""
        state = self.state
        if self.training.epoch > 0:
            self.batches.restart()
        if state.position == 0:
            if self.checkpoints is not None:
                state.epoch_random_state = self.batches.began or random_state()
            yield from self.batches
            return
        # The same random state gives the same order; then the present random state goes on.
        now = random_state()
        if state.epoch_random_state is not None:
            set_random_state(state.epoch_random_state)
        batches = after(self.batches, state.position)
        set_random_state(now)
        yield from batches

    def _evaluate(self) -> None:
        """Append a record of losses and terms; adapt the learning rate to it if so asked."""
        training, state = self.training, self.state
        self._check_gradients()
        self.processes.copy_first(training.buffers)
        state.evaluated = training.step
        record: Record = {
            "step": training.step,
            "epoch": training.epoch,
            "seconds": state.seconds,
            "kl_weight": float(self.steps.kl_weight.value),
            "train_loss": mean(state.losses),
        }
        state.losses.clear()
        if isinstance(self.steps.optim, JointOptim) and self.steps.optim.optimizer is not None:
            record["learning_rate"] = float(self.steps.optim.optimizer.param_groups[0]["lr"])
        record |= self.evaluation.measure()
        training.records.append(record)
        self.evaluation.check(record)
        if self.rate.on_evaluations:
            with self._in_schedule:
                self.rate.after_evaluation(record["validation_loss"])

    def _call_callbacks(self) -> bool:
        """Call every callback; return whether one of them stops training."""
        stops = False
        for callback in self.callbacks:
            with noted(f"in the callback {name_of(callback)} after step {self.training.step}"):
                returned = callback(self.training)
            # Only a truth value: a function of one line returns whatever its line returns.
            stops |= isinstance(returned, bool | np.bool_) and bool(returned)
        return stops

    def _end(self) -> None:
        self.training.ended = True
        self._call_callbacks()

    def _write_checkpoint(self) -> None:
        if self.checkpoints is None:
            return
        state = self.state.as_dict()
        if self.processes.first:
            self.checkpoints.write(self.training.step, state)

    def _result(self) -> Fit:
        training, steps, scale = self.training, self.steps, self.steps.eager.row_scale
        history = as_dataset(training.records)
        trend = Trend(None, False, f"convergence not judged: the training {self.state.reason}")
        if self.state.reason in ("finished", "interrupted"):
            trend = trend_of(training.records)
        elif self.state.reason == "stopped":
            why = training.why_stopped
            sentence = f"stopped early: {why}" if why else _BY_CALLBACK
            trend = Trend(None, False, sentence)
        if training.kept_step is not None and trend.sentence.endswith(EARLIER):
            trend = trend._replace(sentence=trend.sentence.removesuffix(EARLIER))
        return Fit(
            pair=training.pair,
            history=history,
            steps=training.step,
            reason=self.state.reason,
            compiled_from=steps.compiled_from,
            compilation=steps.report,
            converged=trend.converged,
            convergence=trend.sentence,
            scaling="" if scale is None else scale.sentence,
            kept_step=training.kept_step,
        )

    def _progress_bar(self, epochs: int | None, steps: int | None, progress: bool | None) -> Any:
        """Return a progress bar over rows, at those that an earlier process has seen."""
        total = None
        if self.batches.rows is not None and self.batches.steps is not None:
            passes = (steps or 0) / self.batches.steps if epochs is None else epochs
            total = round(self.batches.rows * passes)
        return progress_bar(
            progress=progress,
            delay=0,
            total=total,
            initial=round(self.training.epoch * (self.batches.rows or 0)),
            unit=" samples",
            unit_scale=True,
        )
