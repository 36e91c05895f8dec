"""What a factor of any role promises of compiled training."""

import pytest
import torch

import ppvae
from ppvae.engine.compilation import replay
from ppvae.inference import training
from tests.marks import slow_but


def of_two_classes(entries):
    """Return parameters: entries by name, slow but for the first of each of two classes."""
    parameters, seen = [], set()
    for name, entry in entries.items():
        kind = name.partition(",")[0]
        marks = [pytest.mark.slow] if kind in seen or len(seen) >= 2 else []
        parameters.append(pytest.param(entry, id=name, marks=marks))
        seen.add(kind)
    return parameters


def of_each_class(entries):
    """Return parameters: entries by name, slow but for the first of each class."""
    first = {name.partition(",")[0]: name for name in reversed(entries)}.values()
    return slow_but(set(first), {name: (entry,) for name, entry in entries.items()})


def trained_both_ways(build, batch, monkeypatch):
    """Train what `build` returns, as it is and by its graph; the same comes out. Return one."""
    monkeypatch.setattr(training, "generate", replay)
    reached = []
    for compile_from in (None, 1):
        torch.manual_seed(0)
        pair = build()
        fit = ppvae.fit(pair, batch, steps=6, batch_size=20, compile_from=compile_from, seed=0)
        assert fit.compiled_from == compile_from, fit.compilation
        reached.append(torch.cat([tensor.flatten() for tensor in pair.parameters()]))
    torch.testing.assert_close(*reached, rtol=1e-4, atol=1e-6)
    return pair
