"""Steps that begin one by one in Pyro and go on as one compiled graph each."""

import itertools
import statistics
import time
import warnings
from collections.abc import Hashable, Mapping
from typing import Literal, TypeAlias

from torch import Tensor

from ppvae.engine import isolated
from ppvae.engine.compilation import Guard, Refused
from ppvae.inference.objectives import Generator
from ppvae.inference.steps.compiled_step import WholeStep
from ppvae.inference.steps.minibatches import Minibatch
from ppvae.inference.steps.optimizers import JointOptim
from ppvae.inference.steps.pyro_step import Steps

Choice: TypeAlias = bool | int | Literal["auto"]
"""Whether to compile: yes, no, if it pays, or from that step on."""

_LOOKED_AT = 20  # steps that are timed before a decision
_WORTH = 30.0  # seconds of training left from which on the code earns the time it takes
_OFTEN = 20  # smaller last batches have code of their own if every epoch has fewer steps,
_LONG = 500  # and there are as many epochs


class CompiledSteps:
    """Takes steps through Pyro until their code is ready, and by it from then on.

    Parameters and the optimizer's state are the same tensors before and after.

    Args:
        eager: steps through Pyro.
        choice: whether to compile.
        parameters: the unconstrained parameters by name.
        planned: steps of the whole training, if known.
        epochs: passes of the whole training, if known.
        generator: makes graphs run.
    """

    def __init__(
        self,
        eager: Steps,
        choice: Choice,
        parameters: Mapping[str, Tensor],
        planned: int | None,
        epochs: int | None,
        generator: Generator,
    ) -> None:
        self.eager = eager
        self.optim = eager.optim
        self.kl_weight = eager.kl_weight
        self.choice = choice
        self.parameters = parameters
        self.planned, self.epochs = planned, epochs
        self.generator = generator
        self.switched: int | None = None
        self.report = "not compiled: it was over before there was code"
        self._guard = Guard(eager.pair.model, eager.pair.guide)
        self._version = -1
        self._wholes: dict[Hashable, WholeStep] = {}
        self._compared: set[Hashable] = set()
        self._seconds: list[float] = []
        self._over = False
        if choice is False:
            self._give_up("as asked")
        elif not isinstance(eager.optim, JointOptim):
            self._give_up(f"{type(eager.optim).__name__} is no torch optimizer", told=True)

    def resume(self, switched: int | None) -> None:
        """Go on as a training did that switched at some step, or had not yet."""
        self.switched = None
        if switched is not None and not self._over:
            self.choice = switched

    def evaluate(self, batch: tuple[Tensor, ...]) -> float:
        """Return the loss with the KL term's full weight; nothing is moved."""
        return self.eager.evaluate(batch)

    def step(self, number: int, minibatch: Minibatch) -> float:
        """Take step `number` (from 0) and return the loss before it."""
        if self._over:
            return self.eager.step(number, minibatch)
        self.eager.set_weight(number)
        if self.switched is None and not self._due(number, minibatch):
            start = time.perf_counter()
            loss = self.eager.take(minibatch)
            self._seconds.append(time.perf_counter() - start)
        else:
            loss = self._compiled(number, minibatch)
        return loss / self.eager.datapoints(minibatch)

    def check(self) -> None:
        """See to it that no gradient has left the parameters or the optimizer's state not finite.

        Raises:
            FloatingPointError: if one has.
        """
        for whole in itertools.islice(self._wholes.values(), 1):  # all move the same tensors
            if not whole.finite():
                raise FloatingPointError(
                    "here or some steps before, the gradient is NaN or infinite"
                )

    def renew(self) -> None:
        """Capture anew if modules or optimizer have changed since: between epochs they may."""
        if not self._wholes or self._over:
            return
        kept = all(whole.holds() for whole in self._wholes.values())
        if not kept or self._guard.version() != self._version:
            self._wholes.clear()
            self._compared.clear()
            if self.switched is not None:
                self.choice = self.switched

    def _compiled(self, number: int, minibatch: Minibatch) -> float:
        whole = self._wholes.get(minibatch.kind)
        if whole is None:
            return self.eager.take(minibatch)
        if minibatch.kind in self._compared:
            try:
                return whole(minibatch)
            except FloatingPointError:
                self.check()
                raise
        try:
            loss = whole.compared(minibatch, lambda: self.eager.take(minibatch))
        except Refused as refusal:
            self._give_up(str(refusal), told=self.choice is not True)
            return self.eager.take(minibatch)
        self._compared.add(minibatch.kind)
        if self.switched is None:
            self.switched = number if self._from is None else self._from
            self.report = f"compiled from step {number} on"
        return loss

    @property
    def _from(self) -> int | None:
        """Return the step from which on to compile, if it is prescribed."""
        return None if isinstance(self.choice, bool | str) else self.choice

    def _due(self, number: int, minibatch: Minibatch) -> bool:
        """Tell whether this step is the first by its code, and see to it that there is code."""
        assert isinstance(self.optim, JointOptim)
        begun = self.optim.taken > (0 if self._from is not None else 1)
        if not self._wholes and begun and minibatch.exemplary and self._decided(number):
            self._begin(minibatch)
        if self._over or minibatch.kind not in self._wholes:
            return False
        if self._from is not None:
            return number >= self._from
        return all(whole.code.ready for whole in self._wholes.values())

    def _decided(self, number: int) -> bool:
        if self.choice != "auto":
            return True
        if len(self._seconds) < _LOOKED_AT:
            return False
        if self.planned is None:
            self._give_up("it is not known how many steps there will be")
            return False
        left = (self.planned - number) * statistics.median(self._seconds)
        if left < _WORTH:
            self._give_up(f"too little to gain in {left:.0f} s")
            return False
        return True

    def _begin(self, minibatch: Minibatch) -> None:
        """Capture the steps of this and perhaps of smaller batches; generate their code."""
        examples = [minibatch.first()]
        if minibatch.index is not None and self.epochs is not None:
            rest = len(minibatch.whole[0]) % examples[0].rows
            steps = -(-len(minibatch.whole[0]) // examples[0].rows)
            if rest and steps <= _OFTEN and self.epochs >= _LONG:
                examples.append(minibatch.first().start(rest))
        with isolated(self.eager.pair, seed=0):
            self.eager.evaluate(examples[0].tensors)  # objectives look at their first batch
        self._guard = Guard(self.eager.pair.model, self.eager.pair.guide)
        self._version = self._guard.version()
        assert isinstance(self.optim, JointOptim)
        try:
            for example in examples:
                self._wholes[example.kind] = WholeStep(
                    self.eager.objective,
                    self.eager.programs,
                    self.optim,
                    self.parameters,
                    example,
                    self.generator,
                )
            if self._guard.version() != self._version:
                raise Refused("a number that its modules hold changes at every run")
            for whole in self._wholes.values():
                whole.code.start()
        except Refused as refusal:
            self._give_up(str(refusal), told=self.choice is not True)

    def _give_up(self, reason: str, told: bool = True) -> None:
        """Take all further steps through Pyro; say why, once."""
        self._over = True
        self._wholes.clear()
        self.report = f"not compiled: {reason}"
        if self.switched is not None:
            self.report = f"compiled from step {self.switched} on, then no longer: {reason}"
        if not told:
            warnings.warn(self.report, RuntimeWarning, stacklevel=6)
