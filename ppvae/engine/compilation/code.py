"""Turns a graph into machine code by torch's own code generator."""

import logging
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ppvae.engine.compilation.decompositions import decompositions
from ppvae.engine.compilation.graph import Graph, draws
from ppvae.engine.compilation.refusal import Refused

Run = Callable[[list[Tensor]], Sequence[Tensor]]
"""Runs a graph on its flat inputs, a list that it may empty."""

_SMALL = 2**17  # operations on fewer numbers are not worth waking a second thread for

_OPTIONS = {
    "cpp_wrapper": True,  # calls one function instead of one Python line an operation
    "fallback_random": True,  # draws the numbers that the uncompiled program draws
    "size_asserts": False,  # signatures are compared before
    # To compile the headers apart takes longer than what it saves on one graph, or on two.
    "cpp_cache_precompile_headers": False,
    # What the processor says of itself is believed: to build and run a program for each set of
    # instructions takes as long as the code itself.
    "cpp.vec_isa_ok": True,
}


def replay(graph: Graph, inputs: Sequence[Tensor]) -> "Replay":
    """Run the graph's operations one by one: exactly what the program did, but for its Python."""
    return Replay(graph)


class Replay:
    """A graph that is run as it is, without code of its own."""

    ready = True

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def start(self) -> None:
        """Do nothing: there is no code to wait for."""

    def result(self) -> Run:
        """Return what runs the graph."""
        module = self.graph.module
        return lambda inputs: module(*inputs)


class Code:
    """The machine code of a graph, compiled on request or in the background.

    What takes Python is done here, in the caller's thread: it touches torch's random state, traces
    modules and would slow another thread down. The compiler, a program of its own that takes most
    of the time, may run while the caller goes on.

    Args:
        graph: what to generate code for; it is not changed.
        inputs: an example of its inputs, `graph.lifted` included.

    Raises:
        Refused: if the generator cannot take the graph.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Tensor]) -> None:
        _check_aliases(graph, inputs)
        self._sources: list[_Source] = []
        self._run = _lower(graph, inputs, self._sources)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Compile in the background."""
        # No daemon: the interpreter waits for it, instead of tearing torch down below it.
        self._thread = threading.Thread(target=self._compile, name="ppvae code")
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether `result` returns at once."""
        return all(source.done for source in self._sources)

    def result(self) -> Run:
        """Return what runs the graph, once it is there.

        Raises:
            Refused: if there is no working compiler, or it failed.
        """
        if self._thread is not None:
            self._thread.join()
        for source in self._sources:
            source.compile()
        return self._run

    def _compile(self) -> None:
        for source in self._sources:
            with suppress(Refused):  # `result` raises it again
                source.compile()


class _Source:
    """A function as source code, compiled once."""

    def __init__(self, load: Callable[[], Callable[..., Any]]) -> None:
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
            Refused: if the compiler failed, now or before.
        """
        if not self.done:
            try:
                self._function = self._load()
            except Exception as error:  # whatever an unknown compiler brings up
                self._error = error
        if self._function is None:
            raise Refused(f"no code could be generated: {_first_line(self._error)}")
        return self._function

    def __call__(self, *arguments: Any) -> Any:
        return self.compile()(*arguments)


def generate(graph: Graph, inputs: Sequence[Tensor]) -> Code:
    """Return the code of a graph, still to be generated."""
    return Code(graph, inputs)


def _check_aliases(graph: Graph, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that share memory with one that is written to: code may read it too late."""
    storages = [tensor.untyped_storage().data_ptr() for tensor in inputs]
    for position in graph.written:
        if storages.count(storages[position]) > 1:
            raise Refused("a tensor that the program writes to shares its memory with another")


def _lower(graph: Graph, inputs: Sequence[Tensor], sources: list[_Source]) -> Run:
    """Return what runs the graph, and append to `sources` what is to be compiled before."""
    with warnings.catch_warnings():
        # torch's generator uses parts of torch that torch deprecates.
        warnings.simplefilter("ignore")
        # Imported here, for it takes seconds and most trainings never come to it.
        import torch._functorch.config
        from torch._inductor.codecache import CppWrapperCodeCache
        from torch._inductor.compile_fx import compile_fx, compile_fx_inner

    module = torch.fx.GraphModule(graph.module, _copied(graph.module.graph))
    outputs = module.graph.output_node().args[0]
    assert isinstance(outputs, list | tuple)
    unread = [node for node in module.graph.nodes if draws(node) and not node.users]
    module.graph.output_node().args = ((*outputs, *unread),)  # lest those draws be left out
    module.recompile()
    options = {**_OPTIONS, "cpp.threads": 1 if _largest(graph) < _SMALL else -1}
    load = CppWrapperCodeCache.load_pybinding_async
    runs: list[Run] = []

    def later(*arguments: Any, **options: Any) -> _Source:
        sources.append(_Source(load(*arguments, **options)))
        return sources[-1]

    def keep(inner: torch.fx.GraphModule, examples: Sequence[Any], **options: Any) -> Any:
        results = inner.graph.output_node().args[0]
        assert isinstance(results, list | tuple)
        if len(examples) != len(inputs) or len(results) != len(outputs) + len(unread):
            raise Refused("the code generator wants other inputs or outputs than the graph has")
        runs.append(compile_fx_inner(inner, examples, **options))
        return runs[-1]

    try:
        with (
            torch.no_grad(),
            warnings.catch_warnings(),
            _silent("torch._inductor"),
            mock.patch.object(CppWrapperCodeCache, "load_pybinding", later),
            # A hit there would pass `keep` by, and its key knows nothing of our decompositions.
            torch._functorch.config.patch(enable_autograd_cache=False),
        ):
            warnings.simplefilter("ignore")
            compile_fx(
                module,
                list(inputs),
                inner_compile=keep,
                config_patches=options,
                decompositions=decompositions(),
            )
    except Refused:
        raise
    except Exception as error:
        raise Refused(f"no code could be generated: {_first_line(error)}") from error
    if len(runs) != 1:
        raise Refused("the code generator wants the graph in pieces")
    return runs[0]


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """Keep a logger from telling the user how torch does its work."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _first_line(error: Exception | None) -> str:
    return (str(error).strip().splitlines() or [""])[0]


def _copied(graph: torch.fx.Graph) -> torch.fx.Graph:
    """Copy a graph without the tensors of its capture, among which later passes would get lost."""
    copy = torch.fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    for node in copy.nodes:
        node.meta = {}
    return copy


def _largest(graph: Graph) -> int:
    """Return the most numbers that any operation of the graph returns."""
    sizes = [0]
    for node in graph.module.graph.nodes:
        value = node.meta.get("val") if node.op == "call_function" else None
        if isinstance(value, Tensor):
            sizes.append(value.numel())
    return max(sizes)
