"""The private parts of torch that the package uses; no other file imports a private name.

torch changes them without notice. `tests/engine/compilation/test_torch_internals.py` checks that
each of them does what is needed here, and names the one that a new version of torch broke.

Nothing here patches torch. The settings of the code generator are set by its own `config`, whose
values belong to the thread that sets them, and what it generates is told by such a setting to load
its machine code by `PostponedCodeCache`.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, make_fx
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_unflatten

__all__ = [
    "PostponedCodeCache",
    "TorchDispatchMode",
    "add_to_each",
    "all_true",
    "capturing",
    "decomposition_table",
    "generate_code",
    "multiply_each",
    "node_of",
    "norm_of_each",
    "returns_views",
    "slots",
    "storage_id",
    "trace",
    "tree_flatten",
    "tree_unflatten",
    "without_modes",
    "written_arguments",
]

Load: TypeAlias = Callable[[], Callable[..., Any]]
"""Compiles a function of generated C++ and returns it."""

add_to_each = torch._foreach_add_
"""`add_to_each(tensors, number)` adds a number to tensors in place."""

multiply_each = torch._foreach_mul_
"""`multiply_each(tensors, number)` multiplies tensors by a number in place."""

all_true = torch._is_all_true
"""What torch's distributions ask whether all values lie in the support."""

norm_of_each = torch._foreach_norm
"""`norm_of_each(tensors)` returns the Euclidean norm of each tensor."""


def trace(program: Callable[..., Any], inputs: Sequence[Tensor]) -> GraphModule:
    """Run a program on real tensors and return its operations as a graph.

    torch describes each result by a fake tensor. With one FakeTensorMode around the whole run it
    does not make a new one at each operation, which would take two thirds of the time.
    """
    with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
        graph: GraphModule = make_fx(program, tracing_mode="real")(*inputs)
    return graph


@contextmanager
def without_modes() -> Iterator[None]:
    """Run the block as if no capture surrounded it."""
    with _disable_current_modes():
        yield


def capturing() -> bool:
    """Tell whether a graph is being captured."""
    return get_proxy_mode() is not None


def node_of(tensor: Tensor) -> Node | None:
    """Return the node that a tensor stands for in the graph that is being captured, if any."""
    mode = get_proxy_mode()
    slot = None if mode is None else get_proxy_slot(tensor, mode.tracer, None)
    return None if slot is None else slot.proxy.node


def storage_id(tensor: Tensor) -> int:
    """Return a number that tensors have in common if and only if they share their memory."""
    return int(tensor.untyped_storage()._cdata)


def written_arguments(function: Any) -> Iterator[tuple[int, str]]:
    """Yield position and name of the arguments that an operation's schema says it writes to."""
    schema = getattr(function, "_schema", None)
    if schema is None or not schema.is_mutable:
        return
    for position, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield position, argument.name


def returns_views(function: Any) -> bool:
    """Tell whether an operation's results may share memory with its arguments."""
    schema = getattr(function, "_schema", None)
    return schema is not None and any(result.alias_info for result in schema.returns)


def slots(module: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dictionaries in which a module keeps its own parameters and buffers."""
    return module._parameters, module._buffers


def decomposition_table() -> dict[Any, Callable[..., Any]]:
    """Return what torch's code generator takes operations apart into."""
    _import_generator()
    from torch._inductor.decomposition import select_decomp_table

    return dict(select_decomp_table())


_postpone: ContextVar[Callable[[Load], Callable[..., Any]] | None] = ContextVar(
    "postpone", default=None
)


class PostponedCodeCache:
    """What generated code of ours loads its C++ by, in place of `CppWrapperCodeCache`.

    Inside `generate_code` the C++ is not compiled at once, but handed to `postpone`.
    """

    @staticmethod
    def load_pybinding(*arguments: Any, **options: Any) -> Callable[..., Any]:
        """Return the function of a piece of C++, or what stands for it until it is compiled."""
        from torch._inductor.codecache import CppWrapperCodeCache

        load = CppWrapperCodeCache.load_pybinding_async(*arguments, **options)
        postpone = _postpone.get()
        function: Callable[..., Any] = load() if postpone is None else postpone(load)
        return function


_IMPORT = "from torch._inductor.codecache import CppWrapperCodeCache\n"
_IMPORT_OURS = f"from {__name__} import PostponedCodeCache as CppWrapperCodeCache\n"


def generate_code(
    module: GraphModule,
    inputs: Sequence[Tensor],
    *,
    options: dict[str, Any],
    decompositions: dict[Any, Callable[..., Any]],
    check: Callable[[GraphModule, Sequence[Any]], None],
    postpone: Callable[[Load], Callable[..., Any]],
) -> list[Callable[..., Any]]:
    """Run torch's code generator on a graph; return what runs it, one function for each piece.

    Args:
        module: the graph; it is changed.
        inputs: an example of its inputs.
        options: settings of the generator.
        decompositions: what it takes operations apart into.
        check: called with each piece and its inputs before its code is generated.
        postpone: called with what compiles a piece of C++; returns what stands for its function.
    """
    _import_generator()
    import torch._functorch.config
    from torch._inductor.compile_fx import compile_fx, compile_fx_inner

    runs: list[Callable[..., Any]] = []

    def keep(inner: GraphModule, examples: Sequence[Any], **more: Any) -> Any:
        check(inner, examples)
        runs.append(compile_fx_inner(inner, examples, **more))
        return runs[-1]

    token = _postpone.set(postpone)
    try:
        # A hit in that cache would pass `keep` by, and its key does not contain `decompositions`.
        cache = torch._functorch.config.patch(enable_autograd_cache=False)
        with torch.no_grad(), _own_deprecations_ignored(), cache:
            compile_fx(
                module,
                list(inputs),
                inner_compile=keep,
                config_patches={**options, "_pre_fusion_custom_pass": _loading_by_ours()},
                decompositions=decompositions,
            )
    finally:
        _postpone.reset(token)
    return runs


def _loading_by_ours() -> Any:
    """Return a setting of the generator by which its code imports `PostponedCodeCache`.

    A pass over the operations, called when the writer of the code exists and has written nothing;
    it leaves the operations as they are.
    """
    from torch._inductor.custom_graph_pass import CustomSchedulerPass
    from torch._inductor.virtualized import V

    class Pass(CustomSchedulerPass):
        def __call__(self, nodes: list[Any]) -> list[Any]:
            writer = V.graph.wrapper_code
            write: Any = type(writer).generate

            def generate(is_inference: bool) -> Any:
                code, kernels = write(writer, is_inference)
                if code.value.count(_IMPORT) != 1:
                    raise RuntimeError(f"torch {torch.__version__} generates unknown code")
                code.value = code.value.replace(_IMPORT, _IMPORT_OURS)
                return code, kernels

            writer.generate = generate  # type: ignore[method-assign]
            return nodes

        def uuid(self) -> str:  # part of the key under which torch keeps generated code on disk
            return _IMPORT_OURS

    return Pass()


def _import_generator() -> None:
    """Import torch's code generator, which takes seconds and which most programs never need."""
    if "torch._inductor.compile_fx" in sys.modules:
        return
    with _own_deprecations_ignored():
        import torch._inductor.compile_fx  # noqa: F401


@contextmanager
def _own_deprecations_ignored() -> Iterator[None]:
    """Do not show that torch's code generator uses parts of torch that torch deprecates.

    Python has one list of filters for all threads, so for this time other threads do not show
    these two warnings either; all others are shown.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="`torch._prims_common", category=FutureWarning)
        yield
