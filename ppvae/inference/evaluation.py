"""What training measures between its steps: the objective and the terms of formula (2)."""

import math
import sys
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from ppvae.engine import OtherProcessFailed, Processes, isolated, run_pair
from ppvae.inference.errors import NotFinite, run_explained
from ppvae.inference.history import Record, terms
from ppvae.inference.state import Training
from ppvae.inference.steps import CompiledSteps, Minibatch, Minibatches, monitored, row_chunk

T = TypeVar("T")


class Evaluation:
    """Measures a pair on rows of its training data and on validation data.

    Args:
        training: the training under way.
        steps: evaluates the objective.
        batches: the training data.
        validation: held-out data, if there are any.
        seed: of the draws; the same for each evaluation.
        processes: those that measure a part of the rows each.
    """

    def __init__(
        self,
        training: Training,
        steps: CompiledSteps,
        batches: Minibatches,
        validation: Minibatch | None,
        seed: int,
        processes: Processes,
    ) -> None:
        self.training = training
        self.steps = steps
        self.batches = batches
        self.validation = validation
        self.seed = seed
        self.processes = processes
        self._chunk = row_chunk(batches)
        self._monitored = monitored(batches)
        if batches.steps == 1 and self._monitored.rows < (batches.total or 0):
            pair = steps.eager.pair
            try:
                (chunk,) = self._monitored.chunks(self._monitored.rows)
                with isolated(pair, seed):
                    run_pair(pair, chunk.tensors)
            except Exception:  # parameters for each row; an error of the pair's comes up again
                self._monitored = Minibatch(batches.first(sys.maxsize), form=batches.form)
                self._chunk = self._monitored.rows

    def measure(self) -> Record:
        """Return losses and terms under the present weights, in nats per datapoint.

        Raises:
            NotFinite: if the pair fails numerically on these data.
        """
        record = self._terms("train", self._monitored)
        if self.validation is not None:
            record["validation_loss"] = mean(self._chunks(self.validation, self.steps.evaluate))
            record |= self._terms("validation", self.validation)
            # Without terms, as for a pair that sums out latents, the objective is the ELBO.
            record.setdefault("validation_elbo", -record["validation_loss"])
        return record

    def check(self, record: Record) -> None:
        """Check that every number of a record is finite.

        Raises:
            NotFinite: if one is not, with the site if it can be found.
        """
        data = self._monitored if self.validation is None else self.validation
        (last,) = deque(data.chunks(self._chunk), maxlen=1)
        run_explained(self.training, last, self._place, _check_finite, record)

    @property
    def _place(self) -> str:
        return f"in the evaluation after step {self.training.step}"

    def _terms(self, split: str, data: Minibatch) -> Record:
        pair, row_scale = self.steps.eager.pair, self.steps.eager.row_scale
        measured = self._chunks(data, lambda chunk: terms(pair, chunk.tensors, row_scale))
        return {
            f"{split}_{name}": mean([(rows, record[name]) for rows, record in measured])
            for name in measured[0][1]
        }

    def _chunks(self, data: Minibatch, compute: Callable[[Minibatch], T]) -> list[tuple[int, T]]:
        """Return the rows of each chunk and what `compute` returns for it.

        Each chunk has a seed of its own, so that it does not matter which process takes it.
        """
        self.steps.eager.take_form(data)

        def measured(place: int, chunk: Minibatch) -> tuple[int, T]:
            with isolated(self.training.pair, self.seed + place):
                value = run_explained(self.training, chunk, self._place, compute, chunk)
            return chunk.rows, value

        try:
            return self.processes.divided(data.chunks(self._chunk), measured)
        except OtherProcessFailed as error:
            raise NotFinite(f"{self._place}, {error}.") from error


def mean(values: list[tuple[int, float]]) -> float:
    """Return the mean of per-datapoint values, each weighted by its rows."""
    return sum(rows * value for rows, value in values) / sum(rows for rows, _ in values)


def _check_finite(record: Record) -> None:
    for name, value in record.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value}")
