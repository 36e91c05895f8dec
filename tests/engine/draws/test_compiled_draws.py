"""Draws as compiled code are the draws that they would be without."""

import numpy as np
import pytest
import torch

from ppvae import diagnostics
from ppvae.engine.compilation import CaptureError, Replay, replay
from ppvae.engine.draws import compiled_draws
from tests import strangers
from tests.engine.discrete_pairs import Chain, Classes
from tests.linear_gaussian import LinearGaussian
from tests.marks import slow_but

MEMORY = 2**16  # many chunks


def pairs():
    torch.manual_seed(0)
    linear = LinearGaussian.random(0)
    return {
        "VAE": (linear.pair(), linear.draw(40, seed=1)),
        "bottom-up": (strangers.TwoLatents(), torch.randn(40)),
        "top-down": (strangers.TopDown(), torch.randn(40)),
        "inner plate": (strangers.PlateNotRightmost(), torch.randn(40, 3)),
        "masked": (strangers.MaskedLoop(), (torch.randn(40, 3), torch.rand(40, 3) < 0.5)),
        "chain": (Chain(), torch.randn(40, 4)),
        "enumerated": (Classes(), torch.randn(40)),
        "summed out": (strangers.Marginalized(), torch.randn(40)),
    }


NAMES = (
    *("VAE", "bottom-up", "top-down", "inner plate", "masked", "chain", "enumerated"),
    "summed out",
)


@pytest.fixture(autouse=True)
def worth_it(monkeypatch, request):
    monkeypatch.setattr(compiled_draws, "_MIN_BYTES", 0.0)
    if "generated" not in request.keywords:
        monkeypatch.setattr(compiled_draws, "generate", replay)


def both(pair, x, monkeypatch, draws=100):
    used = []
    run = compiled_draws.CompiledDraws._run

    def counted(self, *args):
        used.append(None)
        return run(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(compiled_draws.CompiledDraws, "_run", counted)
        compiled = diagnostics.evidence(pair, x, draws=draws, memory=MEMORY)
    with monkeypatch.context() as patch:
        patch.setattr(compiled_draws, "_MIN_BYTES", 1e30)
        plain = diagnostics.evidence(pair, x, draws=draws, memory=MEMORY)
    return compiled, plain, len(used)


@pytest.mark.parametrize("name", slow_but({"top-down", "masked", "summed out"}, NAMES))
def test_replayed_draws_are_the_draws_exactly(name, monkeypatch):
    pair, x = pairs()[name]
    compiled, plain, used = both(pair, x, monkeypatch)
    assert used > 1
    assert compiled.identical(plain)


@pytest.mark.slow
@pytest.mark.generated
@pytest.mark.parametrize(
    "name",
    [
        "VAE",
        "summed out",
        *(pytest.param(name, marks=pytest.mark.verify) for name in NAMES[1:-1]),
    ],
)
def test_generated_draws_are_the_draws_to_rounding(name, monkeypatch):
    pair, x = pairs()[name]
    compiled, plain, used = both(pair, x, monkeypatch)
    assert used > 1
    for variable in plain.data_vars:
        np.testing.assert_allclose(compiled[variable], plain[variable], rtol=1e-3, atol=1e-4)


class Wrong(Replay):
    def result(self):
        module = self.graph.module
        return lambda inputs: [output + 0.01 for output in module(*inputs)]


def fails(graph, inputs):
    raise CaptureError("no code could be generated")


class Failing(Replay):
    def result(self):
        def run(inputs):
            raise RuntimeError("unhandled error")

        return run


class FailingLater(Replay):
    """Code that is right when it is compared, and fails from the fourth chunk on."""

    calls = 0

    def result(self):
        type(self).calls += 1
        return super().result() if self.calls < 4 else Failing(self.graph).result()


FAILURES = {
    "draws or densities number 0 would differ": lambda graph, inputs: Wrong(graph),
    "no code could be generated": fails,
    "compiled, it fails: unhandled error": lambda graph, inputs: Failing(graph),
    "it fails: unhandled error": lambda graph, inputs: FailingLater(graph),
}


@pytest.mark.parametrize(
    ("reason", "generator"),
    slow_but(
        {"draws or densities number 0 would differ", "it fails: unhandled error"},
        {reason: (reason, generator) for reason, generator in FAILURES.items()},
    ),
)
def test_code_that_is_wrong_or_missing_is_not_used_and_it_is_said_why(
    reason, generator, monkeypatch
):
    monkeypatch.setattr(compiled_draws, "generate", generator)
    monkeypatch.setattr(FailingLater, "calls", 0)
    pair, x = pairs()["VAE"]
    with monkeypatch.context() as patch:
        patch.setattr(compiled_draws, "_MIN_BYTES", 1e30)
        plain = diagnostics.evidence(pair, x, draws=100, memory=MEMORY)
    with pytest.warns(RuntimeWarning, match=f"draws run uncompiled: .*{reason}") as told:
        compiled = diagnostics.evidence(pair, x, draws=100, memory=MEMORY)
    assert len(told) == 1
    assert compiled.identical(plain)
