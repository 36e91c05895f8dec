"""The private parts of torch that the package uses, those of its code generator apart.

Beside this file and `torch_generator.py` no other imports a private name. torch changes them
without notice. `tests/engine/compilation/test_torch_internals.py` checks that each of them does
what is needed here, and names the one that a new version of torch broke.
"""

import getpass
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import get_proxy_mode, get_proxy_slot, make_fx
from torch.utils import _python_dispatch
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_unflatten

__all__ = [
    "TorchDispatchMode",
    "add_to_each",
    "all_true",
    "capturing",
    "import_compiler",
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

_CODE = "TORCHINDUCTOR_CACHE_DIR"  # the folder of generated code

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
    import_compiler()
    with _some_folders(), tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
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


class TorchDispatchMode(_python_dispatch.TorchDispatchMode):
    """torch's, which imports torch's compiler at its first operation."""

    def __enter__(self) -> Any:
        """Import the compiler, and begin."""
        import_compiler()
        return super().__enter__()  # type: ignore[no-untyped-call]


def import_compiler() -> None:
    """Import torch's compiler where it could not be imported as it is.

    torch imports it with the first optimizer, whether anything is compiled or not. As it is
    imported it makes the folder of generated code and asks for the current folder, and without
    these no optimizer can be made.
    """
    if "torch._dynamo" not in sys.modules and not _has_folders():
        with _some_folders():
            import torch._dynamo  # noqa: F401


@contextmanager
def _some_folders() -> Iterator[None]:
    """Tell torch other folders, if there are none, for a block in which nothing is written.

    Who generates code is told the truth.
    """
    if _has_folders():
        yield
        return
    before, here = os.environ.get(_CODE), os.open(os.curdir, os.O_RDONLY)
    try:
        os.environ[_CODE] = os.sep
        if not _has_folders():  # the current one was removed
            os.chdir(os.sep)
        yield
    finally:
        os.fchdir(here)
        os.close(here)
        if before is None:
            del os.environ[_CODE]
        else:
            os.environ[_CODE] = before


def _has_folders() -> bool:
    try:
        os.getcwd()
        os.makedirs(code_folder(), exist_ok=True)
    except OSError:
        return False
    return True


def code_folder() -> str:
    """Return the folder of generated code, which torch makes.

    Raises:
        OSError: if there is no temporary folder, or no current one.
    """
    folder = os.environ.get(_CODE)
    if folder is None:
        try:
            user = getpass.getuser()
        except (KeyError, ModuleNotFoundError, OSError):
            user = f"uid_{os.getuid()}"
        name = "torchinductor_" + re.sub(r'[\\/:*?"<>|]', "_", user)
        folder = os.path.join(tempfile.gettempdir(), name)
    return os.path.abspath(folder)
