"""Steps that begin one by one in Pyro and go on as one compiled graph each."""

import itertools
import statistics
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Literal, TypeAlias

from torch import Tensor

from ppvae.engine import isolated, warn_caller
from ppvae.engine.compilation import (
    CaptureError,
    Code,
    CompiledProgram,
    Generator,
    Graph,
    Guard,
    Replay,
)
from ppvae.inference.steps.compiled_step import CompiledStep
from ppvae.inference.steps.divided_step import DividedStep
from ppvae.inference.steps.joint_gradients import JointGradients
from ppvae.inference.steps.minibatches import Minibatch, division
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.pyro_step import Steps

Choice: TypeAlias = bool | Literal["auto"]
"""Whether to compile: yes, no, or where it saves time."""

_TIMED_STEPS = 20  # that are timed before "auto" decides
_MIN_SECONDS_LEFT = 30.0  # of training, for the code to save more time than it takes
_OPERATIONS = 400  # of a graph whose code takes that long; larger ones take longer
# A smaller last batch of each epoch gets code of its own if it comes often enough:
_MAX_EPOCH_STEPS = 20  # the most steps of an epoch
_MIN_EPOCHS = 500  # the fewest epochs


class CompiledSteps:
    """Takes steps through Pyro until their code is ready, and by it from then on.

    Parameters and the optimizer's state are the same tensors before and after.

    Args:
        eager: steps through Pyro.
        choice: whether to compile.
        compile_from: the step from which on to compile; as soon as there is code, unless given.
        parameters: the unconstrained parameters by name.
        planned: steps of the whole training, if known.
        epochs: passes of the whole training, if known.
        generator: makes graphs run.

    Attributes:
        compiled_from: the first compiled step, once it has been taken.
        report: what has become of compilation, as a sentence.
    """

    def __init__(
        self,
        eager: Steps,
        choice: Choice,
        compile_from: int | None,
        parameters: Mapping[str, Tensor],
        planned: int | None,
        epochs: int | None,
        generator: Generator,
    ) -> None:
        self.eager = eager
        self.optim = eager.optim
        self.kl_weight = eager.kl_weight
        self.choice, self.compile_from = choice, compile_from
        self.parameters = parameters
        self.planned, self.epochs = planned, epochs
        self.generator = generator
        self.compiled_from: int | None = None
        self.report = "not compiled: training ended before the code was ready"
        self._guard = Guard(eager.pair.model, eager.pair.guide)
        self._version = -1
        self._compiled: dict[Hashable, CompiledStep | DividedStep] = {}
        self._seconds: list[float] = []
        self._given_up = False
        if choice is False:
            self._give_up("as asked", warn=False)
        elif not isinstance(eager.optim, JointOptim):
            self._give_up(f"{type(eager.optim).__name__} is no torch optimizer", warn=False)

    @property
    def joint(self) -> JointGradients | None:
        """What adds up the gradients of several processes."""
        return self.eager.joint

    def resume(self, compiled_from: int | None) -> None:
        """Continue a training that had compiled steps from some step on, or none yet."""
        self.compiled_from = None
        if compiled_from is not None and not self._given_up:
            self.compile_from = compiled_from

    def evaluate(self, minibatch: Minibatch) -> float:
        """Return the loss with the KL term's full weight; no parameter changes."""
        return self.eager.evaluate(minibatch)

    def step(self, number: int, minibatch: Minibatch) -> float:
        """Take step `number` (from 0) and return the loss before it."""
        if self._given_up:
            return self.eager.step(number, minibatch)
        self.eager.set_weight(number)
        if self.compiled_from is None and not self._due(number, minibatch):
            start = time.perf_counter()
            loss = self.eager.take(minibatch)
            self._seconds.append(time.perf_counter() - start)
        else:
            loss = self._take(number, minibatch)
        return loss / self.eager.datapoints(minibatch)

    def check(self) -> None:
        """Check that parameters and the optimizer's state are finite.

        Raises:
            FloatingPointError: if a compiled step with a non-finite gradient changed them.
        """
        for step in itertools.islice(self._compiled.values(), 1):  # all change the same tensors
            if not step.stepped.finite():
                raise FloatingPointError(
                    "here or some steps before, the gradient is NaN or infinite"
                )

    def check_changes(self) -> None:
        """Go on without code if modules or optimizer have changed, as they may between epochs."""
        if not self._compiled or self._given_up:
            return
        if not all(step.stepped.valid() for step in self._compiled.values()):
            self._give_up("the optimizer has changed", warn=False)
        elif self._guard.version() != self._version:
            self._give_up(f"{self._guard.changed} has changed", warn=False)

    def _take(self, number: int, minibatch: Minibatch) -> float:
        step = self._compiled.get(minibatch.kind)
        if step is None:
            return self.eager.take(minibatch)
        if step.compiled.compared:
            try:
                return step(minibatch)
            except FloatingPointError:
                self.check()
                raise
        try:
            loss = step.compare(minibatch)
        except CaptureError as error:
            self._give_up(str(error), warn=self.choice is True)
            return self.eager.take(minibatch)
        if self.compiled_from is None:
            self.compiled_from = number if self.compile_from is None else self.compile_from
            self.report = f"compiled from step {number} on"
        return loss

    def _due(self, number: int, minibatch: Minibatch) -> bool:
        """Tell whether this step is the first compiled one; begin to compile when it is time."""
        assert isinstance(self.optim, JointOptim)
        started = self.optim.steps > (0 if self.compile_from is not None else 1)
        if not self._compiled and started and minibatch.exemplary and self._worthwhile(number):
            self._begin(number, minibatch)
        if self._given_up or minibatch.kind not in self._compiled:
            return False
        if self.compile_from is not None:
            return number >= self.compile_from
        return all(program.code.ready for program in self._programs())

    def _worthwhile(self, number: int) -> bool:
        if self.choice is True or self.compile_from is not None:
            return True
        if len(self._seconds) < _TIMED_STEPS:
            return False
        if self.planned is None:
            self._give_up("it is not known how many steps there will be", warn=False)
            return False
        left = self._left(number)
        if left < _MIN_SECONDS_LEFT:
            self._give_up(f"too little to gain in {left:.0f} s", warn=False)
            return False
        return True

    def _left(self, number: int) -> float:
        """Return the seconds that the training from here takes uncompiled."""
        return ((self.planned or 0) - number) * statistics.median(self._seconds)

    def _sized(self, number: int) -> Generator:
        """Return the generator; with "auto", it refuses graphs too large for the time left."""
        if self.choice is True or self.compile_from is not None:
            return self.generator
        left = self._left(number)

        def sized(graph: Graph, inputs: Sequence[Tensor]) -> Code | Replay:
            operations = len(graph.module.graph.nodes)
            if left < _MIN_SECONDS_LEFT * operations / _OPERATIONS:
                raise CaptureError(
                    f"too little to gain in {left:.0f} s by code of {operations} operations"
                )
            return self.generator(graph, inputs)

        return sized

    def _begin(self, number: int, minibatch: Minibatch) -> None:
        """Capture the steps of this and perhaps of smaller batches; generate their code."""
        examples = [minibatch.first()]
        if minibatch.index is not None and self.epochs is not None:
            full = examples[0].rows
            steps, rest = division(len(minibatch.whole[0]), full)
            if rest != full and steps <= _MAX_EPOCH_STEPS and self.epochs >= _MIN_EPOCHS:
                examples.append(minibatch.first().start(rest))
        with isolated(self.eager.pair, seed=0):
            self.eager.evaluate(examples[0])  # some objectives inspect their first batch
        self._guard = Guard(self.eager.pair.model, self.eager.pair.guide)
        assert isinstance(self.optim, JointOptim)
        try:
            for example in examples:
                kind = CompiledStep if self.eager.joint is None else DividedStep
                self._compiled[example.kind] = kind(
                    self.eager, self.parameters, example, self._sized(number)
                )
                self._guard.ignore(self._compiled[example.kind].compiled.kept.attributes)
            self._version = self._guard.version()
            for program in self._programs():
                program.code.start()
        except CaptureError as error:
            self._give_up(str(error), warn=self.choice is True)

    def _programs(self) -> Iterator[CompiledProgram]:
        for step in self._compiled.values():
            yield from step.programs

    def _give_up(self, reason: str, *, warn: bool) -> None:
        """Take all further steps through Pyro; report why, once."""
        self._given_up = True
        self._compiled.clear()
        self.report = f"not compiled: {reason}"
        if self.compiled_from is not None:
            self.report = f"compiled from step {self.compiled_from} on, then no longer: {reason}"
        if warn:
            warn_caller(self.report)
