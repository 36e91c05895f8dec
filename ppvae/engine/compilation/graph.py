"""Captures a program as a graph of torch's operations: flat tensors in, flat tensors out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro.poutine as poutine
import torch
from torch import Tensor
from torch._guards import TracingContext, tracing
from torch._subclasses import FakeTensorMode
from torch.fx import GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx

from ppvae.engine.compilation.reads import Watch, literal
from ppvae.engine.compilation.refusal import Refused
from ppvae.engine.compilation.writes import written_by
from ppvae.engine.isolation import random_state, set_random_state

Program = Callable[..., Sequence[Tensor]]
"""Called with the watch over the capture and flat tensors; returns flat tensors."""


@dataclass(frozen=True)
class Graph:
    """A captured program.

    Attributes:
        module: what is run; its inputs are the program's own and then `lifted`.
        lifted: tensors that the program took from elsewhere, such as buffers, by reference.
        written: the positions of the inputs that it writes to.
        checked: whether a last output tells that every value lay in its distribution's support.
    """

    module: GraphModule
    lifted: tuple[Tensor, ...]
    written: tuple[int, ...]
    checked: bool


def capture(program: Program, inputs: Sequence[Tensor]) -> Graph:
    """Run a program once and return what it did to tensors, leaving no trace of the run.

    Args:
        program: called as `program(watch, *inputs)`.
        inputs: the tensors that will differ from run to run, parameters among them.

    Raises:
        Refused: if a graph would not do what the program does.

    Example:
        >>> graph = capture(lambda watch, x: [2 * x + torch.rand(3)], [torch.zeros(3)])
        >>> torch.manual_seed(0); first = graph.module(torch.ones(3))[0]  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        >>> torch.manual_seed(0); bool((first == 2 + torch.rand(3)).all())  # doctest: +ELLIPSIS
        <torch._C.Generator object at ...>
        True
    """
    watch = Watch()

    def watched(*flat: Tensor) -> list[Tensor]:
        with poutine.block(), watch:  # no handler of the caller's sees the sites of this run
            outputs = list(program(watch, *flat))
            if watch.checks:
                outputs.append(torch.stack(watch.checks).all())
        return outputs

    before = random_state()
    try:
        with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
            module = make_fx(watched, tracing_mode="real")(*inputs)
    except Refused:
        raise
    except (
        Exception
    ) as error:  # an operation that cannot be captured; the program's own come again
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise watch.refusal or Refused(f"it cannot be captured: {first}") from error
    finally:
        after = random_state()
        set_random_state(before)
        watch.restore()
    if watch.refusal is not None:  # the program may have caught it
        raise watch.refusal
    if any(after[source] != before[source] for source in ("python", "numpy")):
        raise Refused("the program draws random numbers from Python or NumPy, not from torch")
    lifted = _lift(module)
    return Graph(module, lifted, _written(module), bool(watch.checks))


def _lift(module: GraphModule) -> tuple[Tensor, ...]:
    """Turn tensors held by the graph into inputs, and literal numbers into operations."""
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
    # Draws that nobody reads stay: those that follow would be others without them.
    graph.eliminate_dead_code(lambda node: node.is_impure() or draws(node))
    for name in [name for name in (*vars(module), *module._buffers, *module._parameters)]:
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
        schema = getattr(node.target, "_schema", None)
        if schema is not None and any(result.alias_info for result in schema.returns):
            for value in node.all_input_nodes:
                if value in sources:
                    sources.setdefault(node, sources[value])
    return tuple(sorted(found))
