"""Captures a program as a graph of torch's operations: flat tensors in, flat tensors out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro.poutine as poutine
import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from ppvae.engine.compilation.attributes import Kept
from ppvae.engine.compilation.capture_error import CaptureError
from ppvae.engine.compilation.reads import CaptureMode, literal, unwrapped
from ppvae.engine.compilation.torch_internals import returns_views, slots, trace
from ppvae.engine.compilation.writes import written_by
from ppvae.engine.errors import first_line
from ppvae.engine.isolation import random_state, set_random_state

Program = Callable[..., Sequence[Tensor]]
"""Called with the mode of the capture and flat tensors; returns flat tensors."""


@dataclass(frozen=True)
class Graph:
    """A captured program.

    Attributes:
        module: what is run; its inputs are the program's own and then `lifted`.
        lifted: tensors that the program took from elsewhere, such as buffers, by reference.
        written: the positions of the inputs that it writes to.
        checked: whether there is one more output, which tells whether every value lies in its
            distribution's support.
    """

    module: GraphModule
    lifted: tuple[Tensor, ...]
    written: tuple[int, ...]
    checked: bool


def capture(program: Program, inputs: Sequence[Tensor], kept: Kept | None = None) -> Graph:
    """Run a program once and return its operations on tensors; undo all effects of the run.

    Args:
        program: called as `program(mode, *inputs)`.
        inputs: the tensors that will differ from run to run, parameters among them.
        kept: attributes that the run changes; their tensors are further outputs.

    Raises:
        CaptureError: if a graph would not do what the program does.

    Example:
        >>> graph = capture(lambda mode, x: [2 * x + torch.rand(3)], [torch.zeros(3)])
        >>> torch.manual_seed(0); first = graph.module(torch.ones(3))[0]  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        >>> torch.manual_seed(0); bool((first == 2 + torch.rand(3)).all())  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        True
    """
    mode = CaptureMode()
    kept = Kept(()) if kept is None else kept

    def watched(*flat: Tensor) -> list[Tensor]:
        with poutine.block(), mode:  # no handler of the caller's sees the sites of this run
            outputs = [*program(mode, *flat), *kept.tensors()]
            if mode.checks:
                outputs.append(torch.stack(mode.checks).all())
        return [unwrapped(tensor) for tensor in outputs]

    before = random_state()
    try:
        module = trace(watched, inputs)
    except CaptureError:
        raise
    except Exception as error:  # one of the program's own comes up again when it runs uncompiled
        raise mode.error or CaptureError(f"it cannot be captured: {first_line(error)}") from error
    finally:
        after = random_state()
        set_random_state(before)
        mode.restore()
        kept.restore()
    if mode.error is not None:  # the program may have caught it
        raise mode.error
    if any(after[source] != before[source] for source in ("python", "numpy")):
        raise CaptureError("the program draws random numbers from Python or NumPy, not from torch")
    _check_lost(module, mode)
    lifted = _lift(module)
    kept.check_unread(
        tensor
        for tensor, node in zip(
            lifted, module.graph.find_nodes(op="placeholder")[len(inputs) :], strict=True
        )
        if node.users
    )
    return Graph(module, lifted, _written(module), bool(mode.checks))


def _check_lost(module: GraphModule, mode: CaptureMode) -> None:
    """Refuse a graph that holds as a constant what the program computes."""
    for node in module.graph.find_nodes(op="get_attr"):
        if node.users and not literal(node) and mode.made(getattr(module, str(node.target))):
            raise CaptureError(
                "it cannot be captured: it computes with tensors of a class of its own, which a "
                "graph does not follow"
            )


def _lift(module: GraphModule) -> tuple[Tensor, ...]:
    """Turn tensors that the graph holds into inputs, and literal numbers into operations."""
    graph = module.graph
    *_, last = (node for node in graph.nodes if node.op == "placeholder")
    inputs: dict[int, Node] = {}
    lifted: list[Tensor] = []
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        tensor = getattr(module, str(node.target))
        if not node.users:
            graph.erase_node(node)
            continue
        constant = literal(node)
        if constant and tensor.numel() == 1:
            for user in list(node.users):
                with graph.inserting_before(user):
                    number = graph.call_function(
                        torch.ops.aten.full.default,
                        (list(tensor.shape), tensor.item()),
                        {"dtype": tensor.dtype, "device": tensor.device},
                    )
                user.replace_all_uses_with(number)
                graph.erase_node(user)
            graph.erase_node(node)
            continue
        if id(tensor) not in inputs:
            with graph.inserting_after(last):
                last = inputs[id(tensor)] = graph.placeholder(f"lifted_{len(lifted)}")
            lifted.append(tensor.detach())
        for user in list(node.users) if constant else ():
            with graph.inserting_before(user):
                copy = graph.call_function(torch.ops.aten.clone.default, (inputs[id(tensor)],))
            user.replace_all_uses_with(copy)
            graph.erase_node(user)
        node.replace_all_uses_with(inputs[id(tensor)])
        graph.erase_node(node)
    # Draws that nobody reads stay: without them the draws that follow would differ.
    graph.eliminate_dead_code(lambda node: node.is_impure() or draws(node))
    for name in [name for name in (*vars(module), *(n for slot in slots(module) for n in slot))]:
        if name.startswith("_tensor_constant"):
            delattr(module, name)
    module.recompile()
    return tuple(lifted)


def draws(node: Node) -> bool:
    """Tell whether an operation of a graph draws random numbers."""
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _written(module: GraphModule) -> tuple[int, ...]:
    """Return the positions of inputs that an operation writes to, through views too."""
    sources = {
        node: position for position, node in enumerate(module.graph.find_nodes(op="placeholder"))
    }
    found: set[int] = set()
    for node in module.graph.nodes:
        for value in written_by(node.target, node.args, node.kwargs):
            if value in sources:
                found.add(sources[value])
        if returns_views(node.target):
            for value in node.all_input_nodes:
                if value in sources:
                    sources.setdefault(node, sources[value])
    return tuple(sorted(found))
