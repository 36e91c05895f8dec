"""The densities of a path and their gradient as compiled code, for many chains of one shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ppvae.engine import warn_caller
from ppvae.engine.compilation import (
    LOSS_TOLERANCE,
    CaptureError,
    CaptureMode,
    CompiledProgram,
    Generator,
    NoCode,
    Quantity,
    replay,
)
from ppvae.refinement.ensembles import Conditioned
from ppvae.refinement.paths import Path, Point
from ppvae.refinement.unconstrained import State

_SHAPES = 2  # of which code is generated: the pilot run may have fewer chains


class PathCode:
    """The code of a pair's paths, by the shapes of what it reads.

    Args:
        generator: makes what runs the graphs.
    """

    def __init__(self, generator: Generator) -> None:
        self.generator = generator
        self._codes: dict[tuple[object, ...], _Code | None] = {}

    def compiled(self, path: Path, point: Point) -> "CompiledPath | None":
        """Return the path with its code, or None where the path's own Python has to run.

        The code is generated at the first path of a shape, and compared with the path's own
        densities at a point of every path.
        """
        tensors = _inputs(path, point.state, 0.5)
        shape = tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)
        if any(tensor.device.type != "cpu" for tensor in tensors):
            return None
        if shape not in self._codes and len(self._codes) < _SHAPES:
            self._codes[shape] = self._made(path, point.state)
        code = self._codes.get(shape)
        if code is None:
            return None
        found = CompiledPath(path, code)
        return found if _agree(path, found, point) else None

    def _made(self, path: Path, state: State) -> "_Code | None":
        """Return code, or graphs to replay where no code can be generated; None without graphs."""
        try:
            return _Code.of(path, state, self.generator)
        except NoCode as error:
            warn_caller(f"annealing runs uncompiled: {error}")
            self.generator = replay
        except CaptureError:
            return None
        return self._made(path, state)


@dataclass(frozen=True)
class _Code:
    gradient: CompiledProgram
    densities: CompiledProgram

    @classmethod
    def of(cls, path: Path, state: State, generator: Generator) -> "_Code":
        """Capture and compile both programs.

        Raises:
            CaptureError: if a graph would not do what the path does, or several threads cannot
                run it at once.
        """
        example = _inputs(path, state, 0.5)

        def given(tensors: Sequence[Tensor]) -> tuple[Path, State]:
            return _with_inputs(path, state, tensors)

        def gradient(mode: CaptureMode, temperature: Tensor, *tensors: Tensor) -> list[Tensor]:
            own, leaves = given(tensors)
            return list(own.gradient(leaves, temperature).values())

        def densities(mode: CaptureMode, *tensors: Tensor) -> list[Tensor]:
            own, leaves = given(tensors)
            point = own.at(leaves)
            return [point.log_start, point.log_target]

        programs = []
        for program, inputs in ((gradient, example), (densities, example[1:])):
            varying = len(inputs) - len(example) + 1 + len(state)
            made = CompiledProgram(program, inputs, generator, varying=varying)
            if made.written or made.random:
                raise CaptureError("it changes tensors or draws random numbers")
            made.code.start()  # the compiler runs while the next program is captured
            programs.append(made)
        for made in programs:
            made.code.result()
        return cls(*programs)


class CompiledPath(Path):
    """A path whose densities and gradient are compiled code.

    Args:
        path: the path.
        code: its code.
    """

    def __init__(self, path: Path, code: _Code) -> None:
        self.start, self.ensemble, self.space = path.start, path.ensemble, path.space
        self.code = code
        rest = _read(path)
        self._of_gradient = code.gradient.shared(rest)
        self._of_densities = code.densities.shared(rest)

    def at(self, state: State) -> Point:
        """Return the log densities of both ends."""
        log_start, log_target = self.code.densities([*_own(state), *self._of_densities])
        return Point(state, log_start, log_target)

    def gradient(self, state: State, temperature: float | Tensor) -> State:
        """Return the gradient of log f_t."""
        place = torch.as_tensor(temperature, dtype=torch.float64)
        found = self.code.gradient([place, *_own(state), *self._of_gradient])
        return dict(zip(state, found, strict=True))


def _inputs(path: Path, state: State, temperature: float) -> list[Tensor]:
    """Return all tensors that differ between points, and then those between paths of a shape."""
    place = torch.tensor(temperature, dtype=torch.float64)
    return [place, *_own(state), *_read(path)]


def _own(state: State) -> list[Tensor]:
    return [value.contiguous() for value in state.values()]


def _read(path: Path) -> list[Tensor]:
    """Return the tensors that a path reads: its batch, and what it observes instead of that."""
    values = path.ensemble.pair.values if isinstance(path.ensemble.pair, Conditioned) else {}
    return [tensor.contiguous() for tensor in (*path.ensemble.batch, *values.values())]


def _with_inputs(path: Path, state: State, tensors: Sequence[Tensor]) -> tuple[Path, State]:
    """Return a path and a state that read given tensors in place of their own."""
    rest = list(tensors)
    leaves = {name: rest.pop(0) for name in state}
    ensemble = path.ensemble
    batch = tuple(rest.pop(0) for _ in ensemble.batch)
    pair = ensemble.pair
    if isinstance(pair, Conditioned):
        pair = Conditioned(pair.pair, dict(zip(pair.values, rest, strict=True)))
    return path.with_ensemble(replace(ensemble, batch=batch, pair=pair)), leaves


def _agree(path: Path, compiled: CompiledPath, point: Point) -> bool:
    """Tell whether the code does at a point what the path does, up to rounding."""
    state, temperature = point.state, 0.5
    code = compiled.code
    try:
        code.gradient.compare(
            lambda: _gradients(path.gradient(state, temperature)),
            lambda: _gradients(compiled.gradient(state, temperature)),
        )
        code.densities.compare(
            lambda: _densities(path.at(state)), lambda: _densities(compiled.at(state))
        )
    except CaptureError:
        return False
    return True


def _gradients(found: State) -> tuple[None, list[Quantity]]:
    return None, [Quantity(f"gradient of {name}", [value]) for name, value in found.items()]


def _densities(found: Point) -> tuple[None, list[Quantity]]:
    both = {"start": found.log_start, "target": found.log_target}
    return None, [
        Quantity(f"log density of the {name}", [value], tolerance=LOSS_TOLERANCE)
        for name, value in both.items()
    ]
