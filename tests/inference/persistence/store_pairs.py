"""Pairs that keep parameters in Pyro's store, each in another way: z ~ N(0, 1), x | z normal."""

import functools
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.distributions import constraints
from pyro.infer.autoguide import (
    AutoDelta,
    AutoGuideList,
    AutoIAFNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from pyro.nn import PyroModule, PyroParam
from torch import nn


def data():
    return torch.linspace(-1, 2, 24).reshape(8, 3)


def train(pair, steps=5):
    """Train with Pyro alone, and return the losses."""
    pyro.set_rng_seed(0)
    optimizer = pyro.optim.Adam({"lr": 0.05})
    svi = pyro.infer.SVI(pair.model, pair.guide, optimizer, pyro.infer.Trace_ELBO())
    return [svi.step(data()) for _ in range(steps)]


def model(x, scale):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), scale).to_event(1), obs=x)


def guide(x, net):
    loc, raw = net(x).chunk(2, dim=-1)
    with pyro.plate("data", len(x)):
        pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))


def linear(x):
    weight = pyro.param("weight", lambda: torch.randn(3, 4))
    return x @ weight


class Params:
    """No module, parameters by `pyro.param` alone, one of them bounded."""

    def model(self, x):
        bound = constraints.greater_than(0.1)
        model(x, pyro.param("scale", lambda: 0.2 + torch.rand(()), constraint=bound))

    def guide(self, x):
        guide(x, linear)


class Module:
    """No module, but two of them, with a buffer, in a list and a dict."""

    def __init__(self):
        self.nets = [{"encoder": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))}]
        self.train = nn.Linear(1, 1)

    def model(self, x):
        pyro.module("decoder", self.train)
        model(x, self.train(torch.ones(1)).exp())

    def guide(self, x):
        encoder = pyro.module("encoder", self.nets[0]["encoder"])
        guide(x, encoder)


def functions():
    """Two functions that share a network."""
    net = nn.Linear(3, 4)

    def of_guide(x):
        guide(x, pyro.module("net", net))

    return SimpleNamespace(model=Params().model, guide=of_guide)


class ModuleWithParam(nn.Module):
    """A module that uses `pyro.param` and `pyro.module` besides."""

    def __init__(self, features=3):
        super().__init__()
        self.features = features
        self.net = nn.Linear(features, 4)

    def model(self, x):
        scale = pyro.param("scale", lambda: torch.rand(()), constraint=constraints.positive)
        model(x, scale)

    def guide(self, x):
        pyro.module("net", self.net)
        guide(x, self.net)


class Attributes(PyroModule):
    """A PyroModule whose parameter is constrained."""

    def __init__(self, initial=0.5):
        super().__init__()
        self.initial = initial
        self.scale = PyroParam(torch.tensor(initial), constraint=constraints.positive)
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return x @ self.weight

    def model(self, x):
        with self._pyro_context:
            model(x, self.scale)

    def guide(self, x):
        guide(x, self)


PAIRS = {
    "pyro.param": Params,
    "pyro.module": Module,
    "functions": functions,
    "module with pyro.param": ModuleWithParam,
    "PyroModule": Attributes,
}


def global_model(x):
    """Latents of four supports, one of them in the plate over datapoints."""
    loc = pyro.sample("loc", dist.Normal(0.0, 10.0))
    scale = pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    weights = pyro.sample("weights", dist.Dirichlet(torch.ones(3)))
    pyro.sample("bound", dist.Uniform(0.0, torch.tensor([1.0, 2.0])).to_event(1))
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(loc, 1.0))
        with pyro.plate("columns", 3):
            pyro.sample("x", dist.Normal(z + weights[:, None], scale), obs=x.T)


def parts(model):
    """A list of two autoguides and a function."""
    guide = AutoGuideList(model, create_plates=lambda x: pyro.plate("data", len(x)))
    guide.append(AutoNormal(poutine.block(model, expose=["scale", "z"])))
    guide.append(AutoMultivariateNormal(poutine.block(model, expose=["loc", "weights"])))
    guide.append(bound_guide)
    return guide


def bound_guide(x):
    high = pyro.param("high", torch.ones(2))
    pyro.sample("bound", dist.Uniform(0.0, high).to_event(1))


AUTOGUIDES = {
    "AutoDelta": AutoDelta,
    "AutoNormal": AutoNormal,
    "AutoLowRank": functools.partial(AutoLowRankMultivariateNormal, rank=2),
    "AutoIAFNormal": AutoIAFNormal,
    "AutoGuideList": parts,
}


def with_autoguide(name):
    """A pair of functions whose guide is an autoguide."""
    return SimpleNamespace(model=global_model, guide=AUTOGUIDES[name](global_model))
