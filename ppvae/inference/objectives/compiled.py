"""Pyro's objectives as compiled graphs, for Pyro's own `SVI`."""

import math
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeAlias

import torch
from pyro.infer import ELBO
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from ppvae.engine import Collector, announcement, send
from ppvae.engine.compilation import (
    Code,
    Graph,
    Guard,
    Refused,
    Replay,
    Run,
    Watch,
    capture,
    generate,
    loss_and_gradients,
    loss_of,
    replay,
)

Generator: TypeAlias = Callable[[Graph, Sequence[Tensor]], Code | Replay]
"""Makes what runs a graph: `compilation.generate`, or `compilation.replay` without a compiler."""

LOSS_TOLERANCE, GRADIENT_TOLERANCE = 1e-4, 1e-3  # relative; what is wrong differs by far more
_SIGNATURES = 16


class Compiled(ELBO):  # type: ignore[misc]
    """Any objective, run as one compiled graph of loss and gradients: a drop-in for `SVI`.

    The objective's own code is traced once for every signature of the arguments (shapes, dtypes,
    numbers) and state of the modules (training mode, numbers they hold), and then never runs
    again. Tensors, parameters and buffers keep their places: what is changed in them by anybody is
    seen. Each signature's first call runs as it always did; the second compares loss and gradient
    of both under one random state on other data than were traced, and takes the graph from then
    on. Random draws are those of the objective under the same seed. The code takes some ten
    seconds to generate; what the compiler makes of it is kept on disk for the next time. Without
    a C++ compiler the graph runs operation by operation, still without Pyro's handlers.

    What a graph would get wrong (a loop or branch that depends on drawn values, random numbers
    that are not torch's) is found out while tracing; then the objective runs as it is, with one
    warning that says why. Not found out is Python of the model's own with effects from step to
    step that are neither in tensors nor in attributes of its modules.

    Args:
        elbo: any of Pyro's objectives or ours.
        generator: what makes a graph run; compiled code unless given.

    Raises:
        TypeError: if `elbo` is no `pyro.infer.ELBO`.

    Example:
        >>> import pyro.infer, ppvae
        >>> from ppvae import compilation, data, inference, pairs
        >>> pair, x = pairs.assemble(data.digits(), latent=2), data.digits().train[:128]
        >>> elbo = inference.Compiled(pyro.infer.Trace_ELBO(), generator=compilation.replay)
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
        self._guards: dict[tuple[int, int], tuple[Guard, Any, Any]] = {}
        self._calls: dict[Hashable, _Call] = {}

    def _get_trace(self, *args: Any) -> Any:
        return self.elbo._get_trace(*args)

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the objective's loss, in nats."""
        return self._call(False, model, guide, args, kwargs)

    def loss_and_grads(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the objective's loss, in nats, and add its gradients to the parameters'."""
        return self._call(True, model, guide, args, kwargs)

    def _call(self, gradients: bool, model: Any, guide: Any, args: Any, kwargs: Any) -> Any:
        programs = id(model), id(guide)
        if programs not in self._guards:
            # The programs are held, lest others take their ids.
            self._guards[programs] = Guard(model, guide), model, guide
        plain = not kwargs and all(isinstance(value, Tensor) for value in args)
        flat, tree = (list(args), None) if plain else tree_flatten((args, kwargs))
        version = self._guards[programs][0].version()
        key = (gradients, *programs, version, tree, *map(_signature, flat))
        call = self._calls.get(key)
        if call is None:
            call = _Call(self.elbo, gradients, model, guide, flat, tree)
            if len(self._calls) == _SIGNATURES:
                call.give_up(f"it is called in more than {_SIGNATURES} different ways")
            if len(self._calls) <= _SIGNATURES:
                self._calls[key] = call
            return call.first(flat)
        return call(flat, self.generator)


def _signature(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype, value.device, value.requires_grad
    try:
        hash(value)
    except TypeError:
        return id(value)
    return type(value), value


class _Call:
    """Calls of one signature: the first as it is, the second compared, the others compiled."""

    def __init__(
        self, elbo: ELBO, gradients: bool, model: Any, guide: Any, flat: list[Any], tree: Any
    ) -> None:
        self.elbo, self.gradients, self.programs, self.tree = elbo, gradients, (model, guide), tree
        self.places = [index for index, value in enumerate(flat) if isinstance(value, Tensor)]
        self.others = [None if isinstance(value, Tensor) else value for value in flat]
        self.example: list[Tensor] = []
        self.parameters: dict[str, Tensor] = {}
        self.announced: dict[str, Tensor] = {}  # what Pyro is told of them
        self.moved: list[Tensor] = []  # the parameters that have gradients
        self.repeated: set[int] = set()  # places of gradients that another parameter has too
        self.losses = 1
        self.graph: Graph | None = None
        self.run: Run | None = None
        self.given_up = False

    def first(self, flat: list[Any]) -> Any:
        """Run the objective, and remember what it was given and which parameters it met."""
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
        if self.run is not None:
            outputs = self.compiled(tensors)
            return self.eager(tensors) if outputs is None else self.finish(outputs)
        if self.given_up:
            return self.eager(tensors)
        try:
            self.graph = capture(self.program, [*self.parameters.values(), *self.example])
        except Refused as refusal:
            self.give_up(str(refusal))
            return self.eager(tensors)
        try:
            inputs = [*self.parameters.values(), *self.example, *self.graph.lifted]
            self.run = generator(self.graph, inputs).result()
        except Refused as refusal:
            self.run = replay(self.graph, inputs).result()
            self.warn(f"runs operation by operation: {refusal}")
        self.example = []
        return self.compared(tensors)

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
        """Run the objective as it is."""
        args, kwargs = self.arguments(tensors)
        run = self.elbo.loss_and_grads if self.gradients else self.elbo.loss
        return run(*self.programs, *args, **kwargs)

    def program(self, watch: Watch, *inputs: Tensor) -> list[Tensor]:
        """Return losses, and the gradients that there are, as the graph will."""
        args, kwargs = self.arguments(inputs[len(self.parameters) :])
        if not self.gradients:
            losses = loss_of(self.elbo, *self.programs, *args, **kwargs)
            self.losses = len(losses)
            return losses
        parameters = list(self.parameters.values())
        losses, gradients = loss_and_gradients(
            watch, self.elbo, parameters, *self.programs, *args, **kwargs
        )
        self.losses = len(losses)
        pairs = list(zip(parameters, gradients, strict=True))
        self.moved = [parameter for parameter, gradient in pairs if gradient is not None]
        found = [gradient for gradient in gradients if gradient is not None]
        self.repeated = {
            place for place, value in enumerate(found) if any(value is v for v in found[:place])
        }
        return losses + found

    def compiled(self, tensors: list[Tensor]) -> list[Tensor] | None:
        """Run the graph; return nothing where a value is not allowed, which the objective says."""
        assert self.run is not None and self.graph is not None
        with torch.no_grad():
            outputs = list(self.run([*self.parameters.values(), *tensors, *self.graph.lifted]))
        if self.graph.checked and not outputs[self.losses + len(self.moved)]:
            return None
        return outputs

    def finish(self, outputs: list[Tensor]) -> Any:
        """Return the loss, and leave the gradients where `backward` would have."""
        gradients = outputs[self.losses :]
        for place, (parameter, gradient) in enumerate(zip(self.moved, gradients, strict=False)):
            if parameter.grad is None:
                parameter.grad = gradient.clone() if place in self.repeated else gradient
            else:
                parameter.grad += gradient
        for name, value in self.announced.items():
            send(name, value)
        losses = [loss.item() for loss in outputs[: self.losses]]
        return losses[0] if self.losses == 1 else tuple(losses)

    def compared(self, tensors: list[Tensor]) -> Any:
        """Run both from one random state; only the objective's own run counts."""
        assert self.graph is not None
        inputs = [*self.parameters.values(), *tensors, *self.graph.lifted]
        before = [(inputs[place], inputs[place].detach().clone()) for place in self.graph.written]
        failure = "a value lies outside its distribution's support"
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            try:
                outputs = self.compiled(tensors)
            except RuntimeError as failed:
                outputs, failure = None, f"compiled, it fails: {failed}"
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)
        old = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in self.moved]
        loss = self.eager(tensors)
        if outputs is None:
            self.give_up(failure)
            return loss
        total = float(sum(loss)) if isinstance(loss, tuple) else float(loss)
        ours = sum(float(value) for value in outputs[: self.losses])
        if not math.isclose(ours, total, rel_tol=LOSS_TOLERANCE):
            self.give_up(f"compiled, its loss would be {ours:.6g} instead of {total:.6g}")
            return loss
        theirs = [p.grad - start for p, start in zip(self.moved, old, strict=True)]  # type: ignore[operator]
        gradients = outputs[self.losses : self.losses + len(theirs)]
        error = relative_error(gradients, theirs)
        if not error <= GRADIENT_TOLERANCE:
            self.give_up(f"compiled, its gradient would be off by {error:.2g} of its norm")
        return loss

    def give_up(self, reason: str) -> None:
        """Run the objective as it is from now on, and say so once."""
        self.given_up, self.graph, self.run, self.example = True, None, None, []
        self.warn(f"runs uncompiled: {reason}")

    def warn(self, what: str) -> None:
        """Say what becomes of the objective."""
        warnings.warn(f"{type(self.elbo).__name__} {what}", RuntimeWarning, stacklevel=7)


def relative_error(
    values: Sequence[Tensor], reference: Sequence[Tensor], start: Sequence[Tensor] | None = None
) -> float:
    """Return ||values - reference|| / ||reference - start||, over all tensors together.

    Without `start`, of zeros.

    Numbers that are equal differ by nothing, infinite ones too. NaN if a NaN stands where the
    reference has none, or the other way round.
    """
    start = [torch.zeros_like(tensor) for tensor in reference] if start is None else start
    difference, norm = 0.0, 0.0
    for value, other, origin in zip(values, reference, start, strict=True):
        difference += _square_distance(value, other)
        norm += _square_distance(other, origin)
    return math.sqrt(difference / norm) if norm > 0 else math.sqrt(difference)


def _square_distance(first: Tensor, second: Tensor) -> float:
    distance = (first.detach().double() - second.detach().double()).square()
    return float(torch.where(first == second, 0.0, distance).sum())
