"""The private parts of torch's code generator; `torch_internals.py` has the others.

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
from torch import Tensor
from torch.fx import GraphModule

from ppvae.engine.compilation.torch_internals import import_compiler

Load: TypeAlias = Callable[[], Callable[..., Any]]
"""Compiles a function of generated C++ and returns it."""


def decomposition_table() -> dict[Any, Callable[..., Any]]:
    """Return what torch's code generator takes operations apart into."""
    _import_generator()
    from torch._inductor.decomposition import select_decomp_table

    return dict(select_decomp_table())


def compilers() -> tuple[str, ...]:
    """Return the C++ compilers that the generator tries, in their order."""
    _import_generator()
    from torch._inductor import config

    chosen = config.cpp.cxx
    return tuple(
        name for name in (chosen if isinstance(chosen, list | tuple) else (chosen,)) if name
    )


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
    import_compiler()
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
