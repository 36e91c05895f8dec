"""Parameters announced to Pyro and collected from it."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae.engine.parameters import announce, collect


def test_frozen_parameters_are_not_announced():
    layer = nn.Linear(2, 1)
    layer.bias.requires_grad_(False)
    assert list(collect(lambda: announce(layer))) == ["weight"]


def test_parameter_of_two_names_is_collected_once():
    layer = nn.Linear(2, 1)

    def program():
        announce(layer)
        pyro.module("layer", layer)

    collected = collect(program)
    assert {id(p) for p in collected.values()} == {id(p) for p in layer.parameters()}
    assert len(collected) == 2


def test_two_modules_of_one_name_clash():
    first, second = nn.Linear(2, 1), nn.Linear(2, 1)

    def program():
        announce(first)
        announce(second)

    with pytest.raises(ValueError, match="'weight' is announced by two different modules"):
        collect(program)


def test_constrained_parameters_are_collected_unconstrained():
    def program():
        pyro.param("scale", torch.tensor(2.0), constraint=dist.constraints.positive)

    (value,) = collect(program).values()
    assert value.item() == pytest.approx(torch.tensor(2.0).log().item())
