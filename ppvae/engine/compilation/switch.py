"""A program that is captured once, compared once with its compiled form, and then run by it.

Three callers share this: an objective, a step of training, and draws from a guide. Each runs its
program uncompiled as long as there is no code, and for good if a `CaptureError` says why.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from ppvae.engine.compilation.agreement import (
    REPEATS,
    Quantity,
    Runs,
    disagreement,
    last_digit_changed,
)
from ppvae.engine.compilation.attributes import Kept
from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.code import Code, Generator, Replay, replay
from ppvae.engine.compilation.graph import Program, capture, draws
from ppvae.engine.compilation.hoisting import split
from ppvae.engine.errors import first_line
from ppvae.engine.isolation import random_state, set_random_state

Result = TypeVar("Result")


class OutsideSupport(CaptureError):
    """A value lies outside its distribution's support; the program itself says which."""


class CompiledProgram:
    """A program as a graph with its code.

    Args:
        program: called as `program(mode, *inputs)` while it is captured; returns tensors.
        inputs: the tensors that will differ from run to run, parameters among them.
        generator: makes what runs the graph.
        programs: model and guide, whose modules may keep tensors of a run as attributes.
        fallback: called with the reason if the generator fails; the graph then runs operation by
            operation. Unless given, that is a `CaptureError`.
        varying: number of first inputs that differ from run to run, where many runs share the
            others: `shared` computes once what depends on these alone. Unless given, all.

    Raises:
        CaptureError: if the program would do something else as a graph.

    Attributes:
        written: the tensors that the program writes to.
        random: whether the program draws random numbers.
        compared: whether `compare` has found that it does what the program does.
    """

    def __init__(
        self,
        program: Program,
        inputs: Sequence[Tensor],
        generator: Generator,
        programs: Sequence[Any] = (),
        fallback: Callable[[str], None] | None = None,
        varying: int | None = None,
    ) -> None:
        self.kept = Kept(programs)
        self.graph = capture(program, inputs, self.kept)
        self._lifted: tuple[Tensor, ...] = self.graph.lifted
        every = [*inputs, *self._lifted]
        self.written = [every[place] for place in self.graph.written]
        self._shared: Callable[..., Sequence[Tensor]] | None = None
        if varying is not None and not self.written:
            parts = split(self.graph, varying)
            self.graph, self._shared, self._own = parts.own, parts.shared, self._lifted
            self._lifted = ()
            every = [*inputs[:varying], *self.shared(inputs[varying:])]
        self.random = any(draws(node) for node in self.graph.module.graph.nodes)
        self.compared = False
        self.code: Code | Replay
        try:
            self.code = generator(self.graph, every)
            if fallback is not None:
                self.code.result()
        except CaptureError as error:
            if fallback is None:
                raise
            fallback(str(error))
            self.code = replay(self.graph, every)

    def shared(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Compute what runs share; the inputs of each are its own and then these.

        Args:
            inputs: those after the first `varying` ones.
        """
        if self._shared is None:
            return list(inputs)
        with torch.no_grad():
            return list(self._shared(*inputs, *self._own))

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Run the code, without gradients, and return what the program returned.

        Raises:
            CaptureError: if there is no code, for want of a working compiler.
            OutsideSupport: if a value lies outside its distribution's support.
        """
        with torch.no_grad():
            outputs = list(self.code.result()([*inputs, *self._lifted]))
        if self.graph.checked and not outputs.pop():
            raise OutsideSupport("a value lies outside its distribution's support")
        return self.kept.put(outputs)

    def compare(
        self,
        program: Callable[[], tuple[object, Sequence[Quantity]]],
        compiled: Callable[[], tuple[Result, Sequence[Quantity]]],
        *,
        undo: Callable[[], None] = lambda: None,
        tensors: Sequence[Tensor] = (),
        parameters: Sequence[Tensor] = (),
        keep: bool = True,
    ) -> Result:
        """Run both from one random state; return what the compiled one does, if they agree.

        All effects of the program's run are undone. If they disagree, those of the compiled one
        are undone too.

        Args:
            program: runs the program; returns its result and the quantities to be compared.
            compiled: runs the compiled program; likewise. It may be called several times.
            undo: undoes what a run does to anything but tensors.
            tensors: more tensors than `written` that a run changes.
            parameters: what is changed in its last digit to see how large rounding errors are.
            keep: whether the effects of the compiled program's run stay.

        Raises:
            CaptureError: if a quantity differs, or the compiled program fails.
        """
        places = [*self.written, *tensors]
        before = [tensor.detach().clone() for tensor in places]
        state = random_state()

        def back() -> None:
            undo()
            set_random_state(state)
            with torch.no_grad():
                for tensor, value in zip(places, before, strict=True):
                    tensor.copy_(value)

        def run() -> tuple[Result, list[Quantity]]:
            result, quantities = compiled()
            return result, [*quantities, *self.kept.quantities()]

        runs: list[tuple[Sequence[Quantity], Sequence[Quantity]]] = []

        def changed_runs() -> Runs:
            code = self.code
            try:
                # The graph's own operations round as the program's do, and without its Python.
                for other in (code, replay(self.graph, ())) if parameters else ():
                    self.code = other
                    back()
                    base = run()[1]
                    for seed in range(REPEATS):
                        back()
                        with last_digit_changed(parameters, seed):
                            runs.append((run()[1], base))
            finally:
                self.code = code
            return runs

        _, quantities = program()
        expected = [*quantities, *self.kept.quantities()]
        back()
        try:
            result, found = run()
            wrong = disagreement(expected, found, changed_runs)
            if runs and not wrong:
                back()
                result, _ = compiled()
        except CaptureError:
            back()
            raise
        except (ArithmeticError, RuntimeError) as error:
            back()
            raise CaptureError(f"compiled, it fails: {first_line(error)}") from error
        if wrong:
            back()
            raise CaptureError(f"compiled, {wrong}")
        if not keep:
            back()
        else:
            self.compared = True
        return result
