"""Objectives as graphs say what the objectives themselves say, and know what they cannot."""

import pytest
import torch

from ppvae.compilation import replay
from ppvae.inference import Compiled
from ppvae.inference.compiled import relative_error
from ppvae.parameters import Collector
from tests.compilation.pairs import GRAPHS

ROWS = 20


def run(objective, pair, x, seed=0):
    """Return loss and gradients by name, of one call under a seed."""
    torch.manual_seed(seed)
    with Collector() as collector:
        loss = objective.loss_and_grads(pair.model, pair.guide, x)
    parameters = collector.unique()
    gradients = {name: p.grad for name, p in parameters.items() if p.grad is not None}
    for parameter in parameters.values():
        parameter.grad = None
    return loss, gradients


def warmed(objective, pair, draw):
    """Call an objective as often as its graph needs to be taken, on data of its own."""
    model, guide = pair.model, pair.guide

    class Held:  # `Compiled` knows programs by identity, and a VAE makes new ones when asked
        pass

    held = Held()
    held.model, held.guide = model, guide
    for seed in range(2):
        run(objective, held, draw(ROWS), seed)
    return held


@pytest.mark.parametrize(("build", "objective", "draw"), GRAPHS.values(), ids=GRAPHS.keys())
def test_replayed_graph_is_the_objective_exactly(build, objective, draw):
    pair, compiled = build(), Compiled(objective(), generator=replay)
    held = warmed(compiled, pair, draw)
    x = draw(ROWS)
    buffers = [buffer.clone() for buffer in getattr(pair, "buffers", list)()]
    loss, gradients = run(compiled.elbo, held, x, seed=7)
    after = [buffer.clone() for buffer in getattr(pair, "buffers", list)()]
    for buffer, value in zip(getattr(pair, "buffers", list)(), buffers, strict=True):
        buffer.copy_(value)
    state = torch.get_rng_state()
    graph_loss, graph_gradients = run(compiled, held, x, seed=7)
    assert [call.run is not None for call in compiled._calls.values()] == [True]
    assert torch.equal(torch.get_rng_state(), state)  # it drew as many numbers
    assert graph_loss == pytest.approx(loss, rel=1e-7)
    assert gradients.keys() == graph_gradients.keys() and gradients
    if "particles" in str(objective) or "Renyi" in str(objective):
        error = relative_error(list(graph_gradients.values()), list(gradients.values()))
        assert error < 1e-6  # several backward passes add up in another order
    else:
        for name, gradient in gradients.items():
            assert torch.equal(graph_gradients[name], gradient), name
    for buffer, value in zip(getattr(pair, "buffers", list)(), after, strict=True):
        assert torch.equal(buffer, value)


@pytest.mark.slow
@pytest.mark.parametrize(("build", "objective", "draw"), GRAPHS.values(), ids=GRAPHS.keys())
def test_generated_code_is_the_objective_to_rounding(build, objective, draw):
    pair, compiled = build(), Compiled(objective())
    held = warmed(compiled, pair, draw)
    x = draw(ROWS)
    buffers = [buffer.clone() for buffer in getattr(pair, "buffers", list)()]
    loss, gradients = run(compiled.elbo, held, x, seed=7)
    for buffer, value in zip(getattr(pair, "buffers", list)(), buffers, strict=True):
        buffer.copy_(value)
    graph_loss, graph_gradients = run(compiled, held, x, seed=7)
    assert [call.run is not None for call in compiled._calls.values()] == [True]
    assert graph_loss == pytest.approx(loss, rel=1e-5)
    error = relative_error([graph_gradients[name] for name in gradients], list(gradients.values()))
    assert error < (1e-4 if "Renyi" in str(objective) else 1e-5)
