"""Detects where Python reads tensors' values while a program is captured as a graph.

A graph repeats operations, not Python. What Python decides by a value that it reads during capture
(a branch, the length of a loop, a shape) would stay the same for all later values. So reading is
refused, unless the value is constant, or the reader is known not to depend on it.
"""

import math
import sys
from collections.abc import Callable
from contextlib import ExitStack
from types import FrameType
from typing import Any

import torch
from pyro.ops.provenance import detach_provenance
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.fx import Node
from torch.overrides import TorchFunctionMode

from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.torch_internals import (
    TorchDispatchMode,
    all_true,
    node_of,
    returns_views,
    storage_id,
    without_modes,
)
from ppvae.engine.compilation.writes import written_by

_READS = {
    getattr(Tensor, name)
    for name in ("__bool__", "__float__", "__int__", "__index__", "item", "tolist", "numpy")
}
_READING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}

# Readers that do the same whatever they read, by module and function, and what they are given.
_UNDECIDED: dict[tuple[str, str], Callable[[Tensor], Any]] = {
    # Pyro's warnings: a graph gives none. A loss that is not finite is found where it is used.
    ("pyro.util", "warn_if_nan"): lambda value: False,
    ("pyro.util", "warn_if_inf"): lambda value: False,
    ("pyro.util", "torch_isinf"): lambda value: False,
    # Short cuts that do not change the result: as if the tensor were neither zero nor one.
    ("pyro.distributions.util", "is_identically_zero"): lambda value: math.nan,
    ("pyro.distributions.util", "is_identically_one"): lambda value: math.nan,
    # A comparison of scales that raises or does nothing.
    ("pyro.infer.traceenum_elbo", "_get_common_scale"): lambda value: float(_now(value)),
    # It leaves out terms of probability zero, which otherwise are zero or NaN.
    ("pyro.infer.util", "Dice.compute_expectation"): lambda value: True,
    # The first half of a check; the second half covers it.
    ("torch.distributions.constraints", "_PositiveDefinite.check"): lambda value: True,
    ("torch.distributions.constraints", "_PositiveSemidefinite.check"): lambda value: True,
}

# Readers that raise unless what they read is true; the graph tells whether it is.
_CHECKS = {
    ("torch.distributions.distribution", "Distribution.__init__"),
    ("torch.distributions.distribution", "Distribution._validate_sample"),
    ("pyro.poutine.scale_messenger", "ScaleMessenger.__init__"),
    ("ppvae.likelihoods.size_factors", "ObservedSize.forward"),
    ("ppvae.networks.one_hot", "OneHot.check"),
}


class CaptureMode:
    """Records what a program does while it is captured.

    Attributes:
        surrogates: what `backward` was called on.
        checks: truth of every check of a value against its distribution's support.
        written: tensors made outside that the program wrote to, with their values before.
        error: why the program cannot become a graph, if it cannot.
    """

    def __init__(self) -> None:
        self.surrogates: list[Tensor] = []
        self.checks: list[Tensor] = []
        self.written: dict[int, tuple[Tensor, Tensor]] = {}
        self.error: CaptureError | None = None
        self.functions = _Functions(self)
        self._operations = _Operations(self)
        self._site = _Site()
        self._inside = ExitStack()

    def __enter__(self) -> "CaptureMode":
        for mode in (self._site, self.functions, self._operations):
            self._inside.enter_context(mode)
        return self

    def __exit__(self, *error: Any) -> None:
        self._inside.close()

    def refuse(self, what: str) -> CaptureError:
        """Return the error that names the place where the program is now; the first one counts."""
        frame = _reader()
        place = f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"
        site = f"site {self._site.name!r}: " if self._site.name else ""
        self.error = self.error or CaptureError(f"{site}{what} in {place}")
        return self.error

    def made(self, tensor: Tensor) -> bool:
        """Tell whether the program made a tensor's memory."""
        return storage_id(tensor) in self._operations.own

    def restore(self) -> None:
        """Restore the values of tensors that the program wrote to."""
        with torch.no_grad():
            for tensor, value in self.written.values():
                tensor.copy_(value)


class _Site(Messenger):  # type: ignore[misc]
    """Knows the name of the site that is being sampled."""

    def __init__(self) -> None:
        super().__init__()
        self.name: str | None = None

    def _pyro_sample(self, message: Any) -> None:
        self.name = message["name"]

    def _pyro_post_sample(self, message: Any) -> None:
        self.name = None


class _Functions(TorchFunctionMode):
    """Intercepts `backward` and every read by a method of the tensor."""

    def __init__(self, capture: CaptureMode) -> None:
        super().__init__()
        self.capture = capture
        self.range_checked = False

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is Tensor.backward:
            given = [*args[1:], *map(kwargs.get, ("gradient", "inputs", "create_graph"))]
            if not all(value is None or value is False for value in given):
                raise self.capture.refuse("backward is called with a gradient or inputs")
            self.capture.surrogates.append(unwrapped(args[0]))
            return None
        if function is Tensor.register_hook and _called_by() in _UNDECIDED:
            return None  # Pyro's warnings about gradients
        if function is all_true or function in _READS:
            return self._read(function, args[0], kwargs)
        # Reads its argument to check a range; the shape comes from the number of classes.
        classes = args[1] if len(args) > 1 else kwargs.get("num_classes", -1)
        if function is torch.nn.functional.one_hot and classes > 0:
            self.range_checked = True
            try:
                return function(*args, **kwargs)
            finally:
                self.range_checked = False
        return function(*args, **kwargs)

    def _read(self, function: Any, tensor: Tensor, kwargs: Any) -> Any:
        tensor = unwrapped(tensor)
        caller = _called_by()
        if caller in _CHECKS:
            self.capture.checks.append(tensor.all())
            return True
        if caller in _UNDECIDED:
            return _UNDECIDED[caller](tensor)
        if function is Tensor.item and caller[0].startswith("pyro.infer."):
            return tensor.detach().double()  # an objective returns its loss as a number
        if _constant(tensor):
            with without_modes():
                return function(tensor.detach(), **kwargs)
        name = getattr(function, "__name__", str(function)).strip("_")
        raise self.capture.refuse(f"Python reads a tensor's value by `{name}`")


class _Operations(TorchDispatchMode):
    """Intercepts every operation: reads in C++, writes, and private generators."""

    def __init__(self, capture: CaptureMode) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capture = capture
        self.own: set[int] = set()  # storages that the program made
        self._kept: list[Any] = []  # keeps them alive, so that no other gets the number of one

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("generator") is not None:
            raise self.capture.refuse(f"{function} draws from a generator of its own")
        if _READING & set(function.tags) and _depends(function, args):
            tensors = [value for value in args if isinstance(value, Tensor)]
            if self.capture.functions.range_checked or all(map(_constant, tensors)):
                with without_modes():
                    return function(*args, **kwargs)
            raise self.capture.refuse(
                f"{function} returns a number or shape that depends on values"
            )
        for tensor in written_by(function, args, kwargs):
            self._remember(tensor)
        output = function(*args, **kwargs)
        if not returns_views(function):
            for value in output if isinstance(output, tuple | list) else (output,):
                if isinstance(value, Tensor):
                    self.own.add(storage_id(value))
                    self._kept.append(value)
        return output

    def _remember(self, tensor: Any) -> None:
        own = not isinstance(tensor, Tensor) or storage_id(tensor) in self.own
        if not own and id(tensor) not in self.capture.written:
            with without_modes():
                self.capture.written[id(tensor)] = tensor, tensor.detach().clone()


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor within one by which Pyro tracks which sites a number depends on."""
    plain: Tensor = detach_provenance(tensor)
    return plain


def _depends(function: Any, args: Any) -> bool:
    """Tell whether an operation that may have an output of dynamic shape has one here."""
    if function is not torch.ops.aten.index.Tensor:
        return True
    return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _now(tensor: Tensor) -> Tensor:
    """Return a tensor of which the capture records nothing."""
    with without_modes():
        return tensor.detach()


def _constant(tensor: Tensor) -> bool:
    """Tell whether a value depends on nothing but constants that the program itself makes."""
    start = node_of(tensor)
    if start is None:
        return False
    seen: set[Node] = set()
    waiting = [start]
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.op == "placeholder" or (node.op == "get_attr" and not literal(node)):
            return False
        for operation in (node, *node.users):
            if any(written_by(operation.target, operation.args, operation.kwargs)):
                return False
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            return False
        waiting += node.all_input_nodes
    return True


def literal(node: Node) -> bool:
    """Tell whether an attribute of a graph is a tensor that the program made from numbers."""
    lifts = (torch.ops.aten.lift_fresh_copy.default, torch.ops.aten.lift_fresh.default)
    return bool(node.users) and all(user.target in lifts for user in node.users)


_BETWEEN = (
    *(__name__, "torch.overrides", "torch._tensor", "torch._ops"),
    *("torch._compile", "torch._dynamo.eval_frame", "torch.fx.experimental.proxy_tensor"),
)


def _reader() -> FrameType:
    """Return the frame of the code that reads the value."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    return frame


def _called_by() -> tuple[str, str]:
    frame = _reader()
    return str(frame.f_globals.get("__name__")), frame.f_code.co_qualname
