"""Pyro's objectives as compiled graphs, for Pyro's own `SVI`."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from types import MethodType
from typing import Any

import torch
from pyro.infer import ELBO
from torch import Tensor

from ppvae.engine import Collector, announcement, send, warn_caller
from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    CaptureError,
    CaptureMode,
    CompiledProgram,
    Generator,
    Guard,
    Kept,
    OutsideSupport,
    Quantity,
    generate,
    loss_and_gradients,
    loss_of,
    tree_flatten,
    tree_unflatten,
)

_SIGNATURES = 16  # and as many pairs of programs


class Compiled(ELBO):  # type: ignore[misc]
    """Any objective, run as one compiled graph of loss and gradients: a drop-in for `SVI`.

    The objective's own code is captured once for every signature of the arguments (shapes, dtypes,
    numbers) and state of the modules (training mode, numbers they hold), and then never runs
    again. The graph holds tensors by reference, so in-place changes to parameters and buffers take
    effect. Each signature's first call runs uncompiled; the second compares loss and gradient of
    both under one random state on other data than were captured; from then on the graph runs. It
    draws the objective's random numbers under the same seed. The code takes some ten seconds to
    generate; the compiler's result is kept on disk for the next time. Without a C++ compiler the
    graph runs operation by operation, still without Pyro's handlers.

    What a graph would get wrong (a loop or branch that depends on drawn values, random numbers
    that are not torch's) is detected while capturing; then the objective runs uncompiled, and one
    warning says why. Not detected: Python state that the model changes between steps and keeps
    outside tensors and module attributes, such as a global counter.

    Args:
        elbo: any of Pyro's objectives or ours.
        generator: what makes a graph run; compiled code unless given.

    Raises:
        TypeError: if `elbo` is no `pyro.infer.ELBO`.

    Example:
        >>> import pyro.infer, ppvae
        >>> from ppvae import data, inference, pairs
        >>> from ppvae.engine.compilation import replay
        >>> pair, x = pairs.assemble(data.digits(), latent=2), data.digits().train[:128]
        >>> elbo = inference.Compiled(pyro.infer.Trace_ELBO(), generator=replay)
        >>> optim = inference.JointOptim(torch.optim.Adam)
        >>> svi = pyro.infer.SVI(pair.model, pair.guide, optim, elbo)
        >>> all(svi.step(x) > 0 for _ in range(3))
        True
    """

    def __init__(self, elbo: ELBO, *, generator: Generator = generate) -> None:
        if not isinstance(elbo, ELBO):
            raise TypeError(
                f"Compiled needs a pyro.infer.ELBO such as Trace_ELBO(), got {type(elbo).__name__}"
            )
        super().__init__(
            num_particles=elbo.num_particles,
            max_plate_nesting=elbo.max_plate_nesting,
            max_iarange_nesting=None,
            vectorize_particles=elbo.vectorize_particles,
            strict_enumeration_warning=elbo.strict_enumeration_warning,
        )
        self.elbo = elbo
        self.generator = generator
        self._guards: dict[tuple[Hashable, Hashable], tuple[Guard, Any, Any]] = {}
        self._calls: dict[Hashable, _Call] = {}
        self._full = False
        self._said: set[str] = set()
        self._refused: set[Hashable] = set()  # programs that change numbers of their own
        # By programs: the attributes that the last run of a new signature has changed.
        self._restless: dict[Hashable, set[Any]] = {}

    def _get_trace(self, *args: Any) -> Any:
        return self.elbo._get_trace(*args)

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the objective's loss, in nats."""
        return self._call(False, model, guide, args, kwargs)

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the objective's loss, in nats, and add its gradients to the parameters'."""
        return self._call(True, model, guide, args, kwargs)

    def _call(self, gradients: bool, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        plain = not kwargs and all(isinstance(value, Tensor) for value in args)
        flat, tree = (list(args), None) if plain else tree_flatten((args, kwargs))
        programs = _identity(model), _identity(guide)
        if programs not in self._guards and len(self._guards) < _SIGNATURES:
            # The programs are held, so that no others get their ids.
            self._guards[programs] = Guard(model, guide), model, guide
        call = None
        if programs in self._guards and programs not in self._refused:
            version = self._guards[programs][0].version()
            key = (gradients, *programs, version, tree, *map(_signature, flat))
            call = self._calls.get(key)
        if call is not None:
            return call(flat, self.generator)
        call = _Call(self.elbo, gradients, model, guide, flat, tree, self._said)
        if programs in self._refused:
            return call.eager(call.tensors(flat))
        if programs in self._guards and len(self._calls) < _SIGNATURES:
            self._calls[key] = call
            call.guard = self._guards[programs][0]
            before = Kept((model, guide))
            loss = call.first(flat)
            self._look(programs, call, before)
            return loss
        if not self._full:
            self._full = True
            call.give_up(f"it is called in more than {_SIGNATURES} different ways")
        return call.eager(call.tensors(flat))

    def _look(self, programs: Any, call: "_Call", before: Kept) -> None:
        """Look at the attributes that this run has changed, and the one before too."""
        changed = [attribute for attribute, _, _ in before.changed()]
        again = self._restless.get(programs, set()) & {a.place for a in changed}
        self._restless[programs] = {attribute.place for attribute in changed}
        if not again:
            return
        try:
            before.tensors()
        except CaptureError as error:
            self._refused.add(programs)
            call.give_up(str(error))
            return
        self._guards[programs][0].ignore(a for a in before.attributes if a.place in again)


def _identity(program: Any) -> Hashable:
    # A method, or what Pyro's decorators make of one, is a new object at each access.
    if isinstance(program, MethodType):
        return program
    if isinstance(program, partial):
        given = [(name, id(value)) for name, value in program.keywords.items()]
        return (_identity(program.func), *map(id, program.args), *given)
    return id(program)


def _signature(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device, value.requires_grad
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value


class _Call:
    """Calls of one signature: the first uncompiled, the second compared, the others compiled."""

    def __init__(
        self,
        elbo: ELBO,
        gradients: bool,
        model: Any,
        guide: Any,
        flat: list[Any],
        tree: Any,
        said: set[str],
    ) -> None:
        self.said = said  # warnings that have been given
        self.guard: Guard | None = None
        self.elbo, self.gradients, self.programs, self.tree = elbo, gradients, (model, guide), tree
        self.places = [index for index, value in enumerate(flat) if isinstance(value, Tensor)]
        self.others = [None if isinstance(value, Tensor) else value for value in flat]
        self.example: list[Tensor] = []
        self.parameters: dict[str, Tensor] = {}
        self.announced: dict[str, Tensor] = {}  # what Pyro is told of them
        self.trained: list[Tensor] = []  # the parameters that have gradients
        self.repeated: set[int] = set()  # places of gradients that another parameter has too
        self.losses = 1
        self.compiled: CompiledProgram | None = None
        self.given_up = False

    @property
    def runs_compiled(self) -> bool:
        """Whether the graph runs, compared with the objective."""
        return self.compiled is not None and self.compiled.compared

    def first(self, flat: list[Any]) -> Any:
        """Run the objective; remember its arguments and the parameters that it uses."""
        self.example = self.tensors(flat)
        if not self.gradients:
            return self.eager(self.example)
        with Collector() as collector:
            loss = self.eager(self.example)
        self.parameters = collector.unique()
        self.announced = {name: announcement(p) for name, p in self.parameters.items()}
        return loss

    def __call__(self, flat: list[Any], generator: Generator) -> Any:
        tensors = self.tensors(flat)
        if self.given_up:
            return self.eager(tensors)
        try:
            if self.compiled is None:
                inputs = [*self.parameters.values(), *self.example]
                self.compiled = CompiledProgram(
                    self.program, inputs, generator, self.programs, self.slower
                )
                self.example = []
                self.check_kept(self.compiled.kept)
            if not self.compiled.compared:
                return self.compare(tensors)
            outputs = self.compiled([*self.parameters.values(), *tensors])
        except OutsideSupport:
            return self.eager(tensors)  # which raises, and says more
        except CaptureError as error:
            self.give_up(str(error))
            return self.eager(tensors)
        return self.finish(outputs)

    def check_kept(self, kept: Kept) -> None:
        """Check that the graph sets every attribute that the guard does not watch.

        Raises:
            CaptureError: if it does not.
        """
        places = {attribute.place for attribute in kept.attributes}
        for attribute in self.guard.ignored if self.guard is not None else ():
            if attribute.place not in places:
                raise CaptureError(
                    f"{attribute} changes at some runs of the pair and not at others"
                )

    def tensors(self, flat: list[Any]) -> list[Tensor]:
        """Return those of the flat arguments that are tensors."""
        return [flat[index] for index in self.places]

    def arguments(self, tensors: Sequence[Tensor]) -> tuple[Any, Any]:
        """Return what model and guide are called with: positional and named."""
        if self.tree is None:
            return tensors, {}
        flat = list(self.others)
        for index, tensor in zip(self.places, tensors, strict=True):
            flat[index] = tensor
        args, kwargs = tree_unflatten(flat, self.tree)
        return args, kwargs

    def eager(self, tensors: Sequence[Tensor]) -> Any:
        """Run the objective uncompiled."""
        args, kwargs = self.arguments(tensors)
        run = self.elbo.loss_and_grads if self.gradients else self.elbo.loss
        return run(*self.programs, *args, **kwargs)

    def program(self, mode: CaptureMode, *inputs: Tensor) -> list[Tensor]:
        """Return the losses, and the gradients that there are, as the graph will."""
        args, kwargs = self.arguments(inputs[len(self.parameters) :])
        if not self.gradients:
            losses = loss_of(self.elbo, *self.programs, *args, **kwargs)
            self.losses = len(losses)
            return losses
        parameters = list(self.parameters.values())
        losses, gradients = loss_and_gradients(
            mode, self.elbo, parameters, *self.programs, *args, **kwargs
        )
        self.losses = len(losses)
        pairs = list(zip(parameters, gradients, strict=True))
        self.trained = [parameter for parameter, gradient in pairs if gradient is not None]
        found = [gradient for gradient in gradients if gradient is not None]
        self.repeated = {
            place for place, value in enumerate(found) if any(value is v for v in found[:place])
        }
        return losses + found

    def finish(self, outputs: list[Tensor]) -> Any:
        """Return the loss, and leave the gradients where `backward` would have."""
        gradients = outputs[self.losses :]
        for place, (parameter, gradient) in enumerate(zip(self.trained, gradients, strict=True)):
            if parameter.grad is None:
                parameter.grad = gradient.clone() if place in self.repeated else gradient
            else:
                parameter.grad += gradient
        for name, value in self.announced.items():
            send(name, value)
        return self.loss_in(outputs)

    def loss_in(self, outputs: list[Tensor]) -> Any:
        """Return the loss, one number or several."""
        losses = [loss.item() for loss in outputs[: self.losses]]
        return losses[0] if self.losses == 1 else tuple(losses)

    def compare(self, tensors: list[Tensor]) -> Any:
        """Run both from one random state and return the compiled loss if they agree.

        Raises:
            CaptureError: if they do not; no gradient is left then.
        """
        assert self.compiled is not None
        compiled = self.compiled
        old = [(parameter, parameter.grad) for parameter in self.parameters.values()]
        inputs = [*self.parameters.values(), *tensors]

        def undo() -> None:
            for parameter, gradient in old:
                parameter.grad = gradient

        def quantities(loss: Any, gradients: Mapping[int, Tensor | None]) -> list[Quantity]:
            total = float(sum(loss)) if isinstance(loss, tuple) else float(loss)
            values = []
            for parameter in self.parameters.values() if self.gradients else ():
                gradient = gradients.get(id(parameter))
                values.append(torch.zeros_like(parameter) if gradient is None else gradient)
            return [
                Quantity("loss", [torch.tensor(total).double()], tolerance=LOSS_TOLERANCE),
                Quantity("gradient of", values, parts=[*self.parameters]),
            ]

        def uncompiled() -> tuple[Any, list[Quantity]]:
            for parameter, _ in old:
                parameter.grad = None
            loss = self.eager(tensors)
            return loss, quantities(loss, {id(parameter): parameter.grad for parameter, _ in old})

        def graph() -> tuple[list[Tensor], list[Quantity]]:
            outputs = compiled(inputs)
            gradients = zip(self.trained, outputs[self.losses :], strict=True)
            return outputs, quantities(
                self.loss_in(outputs), {id(parameter): value for parameter, value in gradients}
            )

        parameters = [*self.parameters.values()]
        return self.finish(compiled.compare(uncompiled, graph, undo=undo, parameters=parameters))

    def slower(self, reason: str) -> None:
        """Say that the graph runs without code."""
        self.warn(f"runs operation by operation: {reason}")

    def give_up(self, reason: str) -> None:
        """Run the objective uncompiled from now on, and say why, once."""
        self.given_up, self.compiled, self.example = True, None, []
        self.warn(f"runs uncompiled: {reason}")

    def warn(self, what: str) -> None:
        """Say how the objective runs."""
        message = f"{type(self.elbo).__name__} {what}"
        if message not in self.said:
            self.said.add(message)
            warn_caller(message)
