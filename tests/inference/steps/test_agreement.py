"""Rounding is told from wrong code: gradients that are zero, and gradients wrong by 1 %."""

import functools
from typing import ClassVar

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO
from torch import nn

import ppvae
from ppvae.engine.compilation import Replay, replay
from ppvae.inference import Compiled, JointOptim, training
from tests.engine.compilation.pairs import FEATURES, LATENT, Plain, bits

aten = torch.ops.aten


class Changed(Replay):
    """Replays a graph with some operations replaced by others."""

    operations: ClassVar = {}

    def __init__(self, graph, inputs):
        super().__init__(graph)
        self.module = torch.fx.GraphModule(graph.module, graph.module.graph)
        self.change(self.module.graph)
        self.module.recompile()

    def change(self, graph):
        for node in graph.nodes:
            node.target = self.operations.get(node.target, node.target)

    def result(self):
        return lambda inputs: self.module(*inputs)


def backward_sum(x, dim, keepdim=False, **options):
    return x.flip(dim).sum(dim, keepdim, **options)


def product_in_parts(a, b):
    half = a.shape[1] // 2
    return a[:, half:] @ b[half:] + a[:, :half] @ b[:half]


class Reordered(Changed):
    """Adds up in another order, as generated code does."""

    operations: ClassVar = {aten.sum.dim_IntList: backward_sum, aten.mm.default: product_in_parts}


class Shifted(Plain):
    """Has four parameters without a gradient, and small gradients beside large ones."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(FEATURES, 16),  # the bias goes to a normalization over rows
            nn.BatchNorm1d(16),
            nn.Tanh(),
            nn.Linear(16, 2 * LATENT),
        )
        self.inner = nn.Sequential(nn.Linear(FEATURES, 1), nn.GroupNorm(1, 1, affine=False))
        self.shift = nn.Parameter(torch.zeros(()))  # of all logits of a softmax
        self.large = nn.Parameter(torch.tensor(0.9))
        self.small = nn.Parameter(torch.tensor(1e-3))

    def announce(self):
        pyro.module("pair", self)

    def model(self, x):
        super().model(x)
        with pyro.plate("more", len(x)):
            rates = torch.cat([x[:, :3] * self.small, x[:, 3:] * 100 * self.large], -1)
            pyro.sample("y", dist.Normal(rates, 1.0).to_event(1), obs=100 * x + self.inner(x))
            logits = x @ self.encoder[0].weight[:4].T + self.shift
            pyro.sample("k", dist.Categorical(logits=logits), obs=x[:, 0].long())


OPTIMIZERS = {
    "Adam": functools.partial(torch.optim.Adam, lr=1e-3),
    "AdamW": functools.partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1, amsgrad=True),
    "Adamax": functools.partial(torch.optim.Adamax, lr=1e-3),
    "RMSprop": functools.partial(torch.optim.RMSprop, lr=1e-3, centered=True, momentum=0.5),
    "SGD": functools.partial(torch.optim.SGD, lr=1e-6, momentum=0.9, nesterov=True),
    "maximize": functools.partial(torch.optim.SGD, lr=1e-9, maximize=True, weight_decay=1e-3),
}


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param(optimizer, id=name, marks=[] if name == "Adam" else [pytest.mark.slow])
        for name, optimizer in OPTIMIZERS.items()
    ],
)
def test_a_gradient_of_rounding_alone_does_not_speak_against_the_code(optimizer, monkeypatch):
    monkeypatch.setattr(training, "generate", Reordered)
    fit = ppvae.fit(
        Shifted(), bits(200), steps=4, batch_size=50, compile_from=2, optimizer=optimizer
    )
    assert fit.compilation == "compiled from step 2 on"


def compared(generator):
    """Train by a graph that this generator runs; return the objective."""
    torch.manual_seed(0)
    pair, x = Shifted(), bits(50)
    objective = Compiled(Trace_ELBO(), generator=generator)
    svi = SVI(pair.model, pair.guide, JointOptim(torch.optim.Adam), objective)
    with pyro.get_param_store().scope():
        pyro.clear_param_store()
        for _ in range(3):
            svi.step(x)
    return objective


def test_a_compiled_objective_is_compared_likewise():
    assert any(call.runs_compiled for call in compared(Reordered)._calls.values())


NAMES = [name for name, _ in Shifted().named_parameters()]
# Without a gradient in exact arithmetic; one per cent of it is nothing.
ZERO = {"encoder.0.bias", "inner.0.weight", "inner.0.bias", "shift"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "small" else [pytest.mark.slow])
        for name in NAMES
        if name not in ZERO
    ],
)
def test_a_gradient_that_is_wrong_by_one_per_cent_is_refused(name):
    def wrong(graph, inputs):
        class Wrong(Replay):
            def result(self):
                def run(inputs):
                    outputs = list(graph.module(*inputs))
                    outputs[1 + NAMES.index(name)] = outputs[1 + NAMES.index(name)] * 1.01
                    return outputs

                return run

        return Wrong(graph)

    with pytest.warns(RuntimeWarning, match=f"the gradient of pair[$][$][$]{name} would"):
        compared(wrong)


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("encoder.3.bias", "Adam"),
        pytest.param("large", "Adam", marks=pytest.mark.slow),
        pytest.param("encoder.0.weight", "SGD", marks=pytest.mark.slow),
        pytest.param("small", "SGD", marks=pytest.mark.slow),
    ],
)
def test_a_step_by_such_a_gradient_is_refused(name, optimizer, monkeypatch):
    pair = Shifted()
    names = [name for name, _ in pair.named_parameters()]
    states = {"Adam": 2, "SGD": 1}[optimizer]

    class Wrong(Changed):
        def change(self, graph):
            inputs = [*graph.find_nodes(op="placeholder")]
            place = names.index(name) * (1 + states)
            # In the formulas both optimizers first compare the gradient with a tensor of theirs.
            state = inputs[place + 1]
            for user in list(state.users):
                if user.target is aten.sub.Tensor and user.args[1] is state:
                    gradient = user.args[0]  # Adam's
                elif user.target is aten.mul.Tensor:
                    (total,) = user.users
                    gradient = total.args[1].args[0]  # momentum * buffer + gradient * 1
            with graph.inserting_after(gradient):
                scaled = graph.call_function(aten.mul.Tensor, (gradient, 1.01))
            gradient.replace_all_uses_with(scaled, delete_user_cb=lambda node: node is not scaled)

    monkeypatch.setattr(training, "generate", Wrong)
    with pytest.warns(RuntimeWarning, match=rf"the gradient of .*{name} would (be|differ)"):
        ppvae.fit(
            pair,
            bits(200),
            steps=4,
            batch_size=50,
            compile=True,
            optimizer=OPTIMIZERS[optimizer],
        )


@pytest.mark.slow
def test_rounding_is_large_enough_to_matter():
    """In another order, the gradient of the bias before the normalization is another one."""
    gradients = []
    for make in (replay, Reordered):

        def noting(graph, inputs, make=make):
            return Noting(graph, make(graph, inputs).result())

        class Noting(Replay):
            def __init__(self, graph, run):
                super().__init__(graph)
                self.run, self.first = run, True

            def result(self):
                def noted(inputs):
                    outputs = self.run(inputs)
                    if self.first:
                        gradients.append(outputs[1 + NAMES.index("encoder.0.bias")])
                    self.first = False
                    return outputs

                return noted

        compared(noting)
    first, second = gradients
    assert (first - second).norm() > 0.1 * first.norm()
