"""Turns a graph into machine code by torch's own code generator."""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from ppvae.compilation.graph import Graph, draws
from ppvae.compilation.refusal import Refused

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
    """The machine code of a graph, generated on request or in the background.

    The first part of the work may touch torch's random state and puts it back, so it is done
    here, in the caller's thread; the rest, which takes most of the time, may be done in another.

    Args:
        graph: what to generate code for; it is not changed.
        inputs: an example of its inputs, `graph.lifted` included.

    Raises:
        Refused: if the generator cannot take the graph.
    """

    def __init__(self, graph: Graph, inputs: Sequence[Tensor]) -> None:
        _check_aliases(graph, inputs)
        self._finish = _lower(graph, inputs)
        self._thread: threading.Thread | None = None
        self._run: Run | None = None
        self._error: BaseException | None = None

    def start(self) -> None:
        """Generate in the background."""
        # No daemon: the interpreter waits for it, instead of tearing torch down below it.
        self._thread = threading.Thread(target=self._generate, name="ppvae code")
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether `result` returns at once."""
        return self._run is not None or self._error is not None

    def result(self) -> Run:
        """Return what runs the graph, once it is there.

        Raises:
            Refused: if there is no working compiler, or the generator failed.
        """
        if self._thread is not None:
            self._thread.join()
        elif not self.ready:
            with warnings.catch_warnings():  # which acts on all threads, so not in the background
                warnings.simplefilter("ignore")
                self._generate()
        if self._error is not None:
            first = (str(self._error).strip().splitlines() or [""])[0]
            raise Refused(f"no code could be generated: {first}") from self._error
        assert self._run is not None
        return self._run

    def _generate(self) -> None:
        try:
            self._run = self._finish()
        except Exception as error:  # whatever an unknown compiler brings up
            self._error = error


def generate(graph: Graph, inputs: Sequence[Tensor]) -> Code:
    """Return the code of a graph, still to be generated."""
    return Code(graph, inputs)


def _check_aliases(graph: Graph, inputs: Sequence[Tensor]) -> None:
    """Refuse inputs that share memory with one that is written to: code may read it too late."""
    storages = [tensor.untyped_storage().data_ptr() for tensor in inputs]
    for position in graph.written:
        if storages.count(storages[position]) > 1:
            raise Refused("a tensor that the program writes to shares its memory with another")


def _lower(graph: Graph, inputs: Sequence[Tensor]) -> Callable[[], Run]:
    """Decompose and functionalise the graph; return what generates the code of the result."""
    with warnings.catch_warnings():
        # torch's generator uses parts of torch that torch deprecates.
        warnings.simplefilter("ignore")
        # Imported here, for it takes seconds and most trainings never come to it.
        import torch._inductor.config
        from torch._inductor.compile_fx import compile_fx, compile_fx_inner
        from torch._inductor.decomposition import select_decomp_table
        from torch._inductor.virtualized import V

    module = torch.fx.GraphModule(graph.module, _copied(graph.module.graph))
    outputs = module.graph.output_node().args[0]
    assert isinstance(outputs, list | tuple)
    unread = [node for node in module.graph.nodes if draws(node) and not node.users]
    module.graph.output_node().args = ((*outputs, *unread),)  # lest those draws be left out
    module.recompile()
    options = {**_OPTIONS, "cpp.threads": 1 if _largest(graph) < _SMALL else -1}
    held: list[Callable[[], Run]] = []

    def defer(inner: torch.fx.GraphModule, examples: Sequence[Any], **arguments: Any) -> Any:
        results = inner.graph.output_node().args[0]
        assert isinstance(results, list | tuple)
        if len(examples) != len(inputs) or len(results) != len(outputs) + len(unread):
            raise Refused("the code generator wants other inputs or outputs than the graph has")
        fake, context = V.fake_mode, torch._guards.TracingContext.try_get()

        def finish() -> Run:
            with (
                torch.no_grad(),
                _random_state_left_alone(),
                V.set_fake_mode(fake),
                torch._guards.tracing(context),
                torch._inductor.config.patch(options),
            ):
                return compile_fx_inner(inner, examples, **arguments)

        held.append(finish)
        return _Deferred()

    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile_fx(
                module,
                list(inputs),
                inner_compile=defer,
                config_patches=options,
                decompositions={**select_decomp_table(), torch.ops.aten.addmm.default: _apart},
            )
    except Refused:
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise Refused(f"no code could be generated: {first}") from error
    if len(held) != 1:
        raise Refused("the code generator wants the graph in pieces")
    return held[0]


@contextmanager
def _random_state_left_alone() -> Iterator[None]:
    """Keep the generator from putting torch's random state back when it has done its work.

    It draws nothing, but the thread that trains meanwhile does, and would draw the same numbers
    twice. torch has no setting for it.
    """
    import torch._dynamo.utils

    with mock.patch.object(torch._dynamo.utils, "preserve_rng_state", nullcontext):
        yield


def _apart(
    bias: Tensor, left: Tensor, right: Tensor, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Add the bias where the sum is read first: the product would add it in a pass of its own.

    A difference, for of a sum the generator would make what it was. Both round alike.
    """
    if left.device.type != "cpu" or (alpha, beta) != (1, 1):
        return NotImplemented
    return torch.mm(left, right) - (-bias)


class _Deferred:
    """Stands for code that comes later; torch asks what it is given back for this attribute."""

    _boxed_call = True


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
