"""Evaluation leaves modes, random state and parameters as they were, in any pair."""

import json
import random
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import diagnostics
from ppvae.engine import (
    random_state,
    random_state_as_json,
    random_state_from_json,
    seeded,
    set_random_state,
)

X = torch.linspace(-1, 1, 6)


class Recorded(nn.Dropout):
    """Dropout that records whether it was in training mode when it ran."""

    def __init__(self):
        super().__init__()
        self.modes = []

    def forward(self, values):
        self.modes.append(self.training)
        return super().forward(values)


class Nested:
    """A pair that keeps its dropout two plain objects deep."""

    def __init__(self):
        self.parts = SimpleNamespace(guide=SimpleNamespace(dropout=Recorded()))

    @property
    def dropout(self):
        return self.parts.guide.dropout

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.dropout(x), 1.0))


class NestedModule(nn.Module):
    """The same as an nn.Module, which does not see what plain objects hold."""

    def __init__(self):
        super().__init__()
        self.parts = SimpleNamespace(guide=SimpleNamespace(dropout=Recorded()))

    dropout, model, guide = Nested.dropout, Nested.model, Nested.guide


GLOBAL = Recorded()


class ReadsGlobal:
    """A pair whose guide reads a global module."""

    dropout = GLOBAL
    model = Nested.model

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(GLOBAL(x), 1.0))


@pytest.mark.parametrize("made", [Nested, NestedModule, ReadsGlobal])
def test_dropout_is_off_wherever_the_pair_keeps_it(made):
    pair = made()
    pair.dropout.modes.clear()
    diagnostics.weights(pair, X, draws=5)
    assert pair.dropout.modes
    assert not any(pair.dropout.modes)
    assert pair.dropout.training


def numbers():
    return torch.randn(2).tolist(), np.random.standard_normal(3).tolist(), random.gauss(0, 1)


def test_random_state_goes_on_where_it_was():
    with seeded(3):
        numbers()
        state = random_state()
        expected = numbers()
        assert state["numpy"] != random_state()["numpy"]
        assert state["python"] != random_state()["python"]
        set_random_state(state)
        assert numbers() == expected


def test_random_state_survives_a_file():
    with seeded(3):
        numbers()
        text = json.dumps(random_state_as_json(random_state()))
        expected = numbers()
        set_random_state(random_state_from_json(json.loads(text)))
        assert numbers() == expected


def test_a_state_saved_before_is_read():
    """The form that checkpoints have had from the beginning."""
    with seeded(3):
        numpy = np.random.get_state(legacy=False)
        written = random_state_as_json(random_state())
        key = numpy["state"]["key"].tolist()
        assert written["numpy"] == {**numpy, "state": {**numpy["state"], "key": key}}
        assert set(written) == {"torch", "cuda", "numpy", "python"}
        version, words, gauss = random.getstate()
        assert written["python"] == [version, list(words), gauss]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("torch", "x"),
        ("torch", "AAAA"),
        ("python", [3, [1, 2], None]),
        ("python", [3, "x", None]),
        ("numpy", {"bit_generator": "MT19937", "state": {"key": [1], "pos": 0}}),
    ],
)
def test_a_random_state_that_no_generator_takes_is_refused(part, value):
    written = random_state_as_json(random_state())
    with pytest.raises(TypeError, match="its random state is damaged"):
        random_state_from_json({**written, part: value})


@pytest.mark.parametrize("position", [-1, 625, 10**9, "1", None])
def test_a_position_outside_of_numpys_state_is_refused(position):
    written = random_state_as_json(random_state())
    written["numpy"]["state"]["pos"] = position
    with pytest.raises(TypeError, match="its random state is damaged"):
        random_state_from_json(written)
