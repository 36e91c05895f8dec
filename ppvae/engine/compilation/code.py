"""Turns a graph into machine code by torch's own code generator."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ppvae.engine.compilation import torch_generator
from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.decompositions import decompositions
from ppvae.engine.compilation.graph import Graph, draws
from ppvae.engine.compilation.surroundings import check_surroundings, no_code, without_log

Run = Callable[[list[Tensor]], Sequence[Tensor]]
"""Runs a graph on its flat inputs, a list that it may empty."""

_SMALL = 2**17  # an operation on fewer numbers is slower on several threads than on one

_OPTIONS = {
    "cpp_wrapper": True,  # one C++ function for the graph, not one Python line an operation
    "fallback_random": True,  # draws the numbers that the uncompiled program draws
    "size_asserts": False,  # the caller compares shapes and strides
    # Compiling the headers apart takes longer than it saves on one or two graphs.
    "cpp_cache_precompile_headers": False,
    # Trust what the processor reports: to build and run a test program for each set of
    # instructions takes as long as to compile the code itself.
    "cpp.vec_isa_ok": True,
}


class Replay:
    """Runs a graph operation by operation, without code of its own."""

    ready = True

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def start(self) -> None:
        """Do nothing: there is nothing to compile."""

    def result(self) -> Run:
        """Return what runs the graph."""
        module = self.graph.module
        return lambda inputs: module(*inputs)


class Code:
    """The machine code of a graph, compiled on request or in the background.

    The steps in Python are done here, in the caller's thread: they use torch's random state, trace
    modules and would slow another thread down. The C++ compiler, a separate program that takes
    most of the time, may run in the background.

    Args:
        graph: what to generate code for; it is not changed.
        inputs: an example of its inputs, `graph.lifted` included.

    Raises:
        CaptureError: if the generator cannot handle the graph.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Tensor]) -> None:
        _check_aliases(graph, inputs)
        self._functions: list[_Postponed] = []
        self._run = _generate(graph, inputs, self._functions)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Compile in the background."""
        # Not a daemon: the interpreter then waits for the thread before it unloads torch.
        thread = threading.Thread(target=self._compile, name="ppvae code")
        try:
            thread.start()
        except RuntimeError:  # no more threads may be started
            self._compile()
        else:
            self._thread = thread

    @property
    def ready(self) -> bool:
        """Whether `result` returns at once."""
        return all(function.done for function in self._functions)

    def result(self) -> Run:
        """Return what runs the graph; wait for the compiler.

        Raises:
            CaptureError: if there is no working compiler, or it failed.
        """
        if self._thread is not None:
            self._thread.join()
        for function in self._functions:
            function.compile()
        return self._run

    def _compile(self) -> None:
        for function in self._functions:
            with suppress(CaptureError):  # `result` raises it again
                function.compile()


Generator: TypeAlias = Callable[[Graph, Sequence[Tensor]], Code | Replay]
"""Makes what runs a graph: `generate`, or `replay` without a compiler."""


def generate(graph: Graph, inputs: Sequence[Tensor]) -> Code:
    """Generate the code of a graph, still to be compiled."""
    return Code(graph, inputs)


def replay(graph: Graph, inputs: Sequence[Tensor]) -> Replay:
    """Run the graph's operations one by one: exactly what the program did, without its Python."""
    return Replay(graph)


class _Postponed:
    """A function of generated C++, compiled once, when it is asked for."""

    def __init__(self, load: torch_generator.Load) -> None:
        self._load = load
        self._function: Callable[..., Any] | None = None
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether the compiler has finished with it."""
        return self._function is not None or self._error is not None

    def compile(self) -> Callable[..., Any]:
        """Return the function.

        Raises:
            CaptureError: if the compiler failed, now or before.
        """
        if not self.done:
            try:
                with without_log():
                    self._function = self._load()
            except Exception as error:  # a compiler of the user's may fail in any way
                self._error = error
        if self._error is not None:
            raise no_code(self._error)
        assert self._function is not None
        return self._function

    def __call__(self, *arguments: Any) -> Any:
        return self.compile()(*arguments)


def _check_aliases(graph: Graph, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that share memory with one that is written to.

    Generated code reorders operations, and may read such an input after the write.
    """
    storages = [tensor.untyped_storage().data_ptr() for tensor in inputs]
    for position in graph.written:
        if storages.count(storages[position]) > 1:
            raise CaptureError("a tensor that the program writes to shares memory with another")


def _generate(graph: Graph, inputs: Sequence[Tensor], functions: list[_Postponed]) -> Run:
    """Return what runs the graph; append to `functions` what has to be compiled before."""
    module = torch.fx.GraphModule(graph.module, _copied(graph.module.graph))
    outputs = module.graph.output_node().args[0]
    assert isinstance(outputs, list | tuple)
    # The generator leaves out what is not returned; without these draws later ones would differ.
    unread = [node for node in module.graph.nodes if draws(node) and not node.users]
    module.graph.output_node().args = ((*outputs, *unread),)
    module.recompile()

    def check(piece: torch.fx.GraphModule, examples: Sequence[Any]) -> None:
        results = piece.graph.output_node().args[0]
        assert isinstance(results, list | tuple)
        if len(examples) != len(inputs) or len(results) != len(outputs) + len(unread):
            raise CaptureError("the code generator needs other inputs or outputs than the graph's")

    def postpone(load: torch_generator.Load) -> _Postponed:
        functions.append(_Postponed(load))
        return functions[-1]

    try:
        with without_log():
            check_surroundings()
            runs = torch_generator.generate_code(
                module,
                inputs,
                options={**_OPTIONS, "cpp.threads": 1 if _largest(graph) < _SMALL else -1},
                decompositions=decompositions(),
                check=check,
                postpone=postpone,
            )
    except CaptureError:
        raise
    except Exception as error:  # the graph can still be run without code
        raise no_code(error) from error
    if len(runs) != 1:
        raise CaptureError("the code generator splits the graph into several")
    run, count = runs[0], len(outputs)
    return (lambda flat: run(flat)[:count]) if unread else run


def _copied(graph: torch.fx.Graph) -> torch.fx.Graph:
    """Copy a graph without the fake tensors of its capture, which the generator would mistake."""
    copy = torch.fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    for node in copy.nodes:
        node.meta = {}
    return copy


def _largest(graph: Graph) -> int:
    """Return the number of elements of the largest result of an operation of the graph."""
    sizes = [0]
    for node in graph.module.graph.nodes:
        value = node.meta.get("val") if node.op == "call_function" else None
        if isinstance(value, Tensor):
            sizes.append(value.numel())
    return max(sizes)
