"""Two pairs that meet in Pyro's parameter store."""

import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal
from torch import nn

import ppvae
from ppvae import diagnostics

X = torch.randn(60, generator=torch.Generator().manual_seed(0))


class Bias:
    """Keeps its parameters in the store, under names that a second pair has too."""

    prefix = ""

    def model(self, x):
        shift = pyro.param(f"{self.prefix}shift", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z + shift, 1.0), obs=x)

    def guide(self, x):
        slope = pyro.param(f"{self.prefix}slope", torch.tensor(0.0))
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(slope * x, 1.0))


class Other(Bias):
    prefix = "other "


class Module(nn.Module):
    """Registers its own network in the store, under a name that a second pair has too."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(1, 1)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        pyro.module("net", self.net)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.net(x[:, None])[:, 0], 1.0))


class Plain(Module):
    """The same, but no module itself."""

    def __new__(cls):
        pair = object.__new__(Holder)
        pair.net = nn.Linear(1, 1)
        return pair


class Holder:
    model, guide = Module.model, Module.guide


class Auto(nn.Module):
    def __init__(self):
        super().__init__()
        self.guide = AutoNormal(self.model)

    def model(self, x):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(mean, 1.0), obs=x)


def fit(pair):
    return ppvae.fit(pair, X, steps=2, batch_size=60, compile=False)


def test_a_pair_that_takes_anothers_parameters_over_is_said():
    first, second = Bias(), Bias()
    fit(first)
    fit(first)  # its own
    with pytest.warns(UserWarning, match="takes the parameters .* over from another pair"):
        fit(second)
    fit(second)
    with pytest.warns(UserWarning, match="over from another pair"):
        fit(first)
    pyro.clear_param_store()
    fit(Bias())


def test_two_automatic_guides_of_one_name_meet_too():
    first, second = Auto(), Auto()
    first.guide(X)  # an automatic guide makes its parameters at its first run
    fit(first)
    second.guide(X)
    with pytest.warns(UserWarning, match="AutoNormal.* over from another pair"):
        fit(second)


def test_the_maker_is_known_when_it_is_gone():
    fit(Bias())
    with pytest.warns(UserWarning, match="'s(hift|lope)', 's(hift|lope)'"):
        fit(Bias())


def test_pairs_of_other_names_or_with_modules_of_their_own_do_not_meet():
    for pair in (Bias(), Other(), Module(), Module()):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fit(pair)


def test_a_module_that_would_not_be_trained_is_refused():
    fit(Plain())
    with pytest.raises(ppvae.Unsupported, match="pyro.module 'net' .* would not be trained"):
        fit(Plain())


def test_compare_refuses_pairs_that_share_parameters():
    first, second, others = Bias(), Bias(), [Other(), Module(), Module()]
    for pair in (first, *others):
        fit(pair)
    with pytest.raises(ppvae.Unsupported, match="'a' and 'b' share the parameter '(shift|slope)'"):
        diagnostics.compare({"a": first, "b": second}, X, draws=30)
    pairs = {"a": first, "same": first, "c": others}
    assert diagnostics.compare(pairs, X, draws=30).sizes["fit"] == 5
