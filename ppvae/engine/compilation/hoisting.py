"""Splits a graph into what many runs share and what each run computes."""

from dataclasses import dataclass

from torch import fx

from ppvae.engine.compilation.graph import Graph, draws
from ppvae.engine.compilation.writes import written_by


@dataclass(frozen=True)
class Parts:
    """A graph in two parts.

    Attributes:
        shared: computes from the inputs that runs share what each run needs of them.
        own: the rest; its inputs are those that differ, and then what `shared` returns.
    """

    shared: fx.GraphModule
    own: Graph


def split(graph: Graph, count: int) -> Parts:
    """Split a graph: what depends on its first inputs is its own, the rest is shared.

    Args:
        graph: a captured program.
        count: number of first inputs that differ from run to run.

    Example:
        >>> import torch
        >>> from ppvae.engine.compilation import capture
        >>> graph = capture(lambda mode, z, x: [z * x.lgamma()], [torch.ones(2), torch.ones(2)])
        >>> parts = split(graph, 1)
        >>> parts.own.module(torch.full((2,), 3.0), *parts.shared(torch.full((2,), 4.0)))
        [tensor([5.3753, 5.3753])]
    """
    nodes = list(graph.module.graph.nodes)
    places = {n: i for i, n in enumerate(m for m in nodes if m.op == "placeholder")}
    writes = any(
        any(written_by(n.target, n.args, n.kwargs)) for n in nodes if n.op == "call_function"
    )
    own: set[fx.Node] = {node for node, place in places.items() if place < count}
    for node in nodes:
        if node.op in ("placeholder", "output"):
            continue
        # What is written to later may not be shared: every run would write to it again.
        if writes or draws(node) or own.intersection(node.all_input_nodes):
            own.add(node)
    (output,) = (node for node in nodes if node.op == "output")
    needed = [
        node
        for node in nodes
        if node not in own and node.op != "output" and any(_reads(u, own) for u in node.users)
    ]
    first, rest = fx.Graph(), fx.Graph()
    shared_of: dict[fx.Node, fx.Node] = {}
    own_of: dict[fx.Node, fx.Node] = {}
    for node, place in places.items():
        target = (rest, own_of) if place < count else (first, shared_of)
        target[1][node] = target[0].placeholder(str(node.target))
    for node in nodes:
        if node.op not in ("placeholder", "output") and node not in own:
            shared_of[node] = first.node_copy(node, shared_of.__getitem__)
    first.output([shared_of[node] for node in needed])
    first.eliminate_dead_code()
    for index, node in enumerate(needed):
        own_of[node] = rest.placeholder(f"shared_{index}")
        own_of[node].meta = dict(node.meta)
    for node in nodes:
        if node in own and node.op != "placeholder":
            own_of[node] = rest.node_copy(node, own_of.__getitem__)
    rest.output(fx.map_arg(output.args[0], own_of.__getitem__))
    module = fx.GraphModule(graph.module, rest)
    return Parts(
        fx.GraphModule(graph.module, first), Graph(module, (), graph.written, graph.checked)
    )


def _reads(user: fx.Node, own: set[fx.Node]) -> bool:
    return user.op == "output" or user in own
