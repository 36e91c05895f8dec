"""Whose code raised an exception, by the frames of its traceback."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import VAE, likelihoods, networks, posteriors, priors
from ppvae.engine import densities, execution, raised_in_pair
from ppvae.engine.densities import log_prob
from ppvae.engine.execution import run_pair

X = torch.zeros(5, 4)


def origin_of(function, *arguments):
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return raised_in_pair(caught.value)


class Network(nn.Module):
    """A network that fails by itself, or inside torch."""

    def __init__(self, inside):
        super().__init__()
        self.layer, self.inside = nn.Linear(3, 4), inside

    def forward(self, x):
        return self.layer(x) if self.inside else {}["weights"]


def vae(network):
    return VAE(
        prior=priors.StandardNormal(2),
        likelihood=likelihoods.Normal(networks.MLP(2, 4)),
        posterior=posteriors.DiagonalNormal(network),
    )


@pytest.mark.parametrize("inside", [False, True])
def test_a_network_of_the_users_in_a_pair_of_ours(inside):
    line = Network.forward.__code__.co_firstlineno + 1
    assert origin_of(run_pair, vae(Network(inside)), (X,)) == f"{__file__}:{line}"


def test_a_part_of_ours_is_ours():
    """As where a factor calls torch with wrong shapes."""
    assert origin_of(run_pair, vae(networks.MLP(3, 4)), (X,)) is None


def test_a_bug_beside_the_program_is_ours(monkeypatch):
    def planted(*arguments):
        raise KeyError("z")

    monkeypatch.setattr(execution, "sample_sites", planted)
    assert origin_of(run_pair, vae(networks.MLP(4, 4)), (X,)) is None
    monkeypatch.setattr(densities, "log_prob", planted)
    assert origin_of(densities.log_density, [{}], None, 5, None) is None


class Own(dist.Normal):
    def log_prob(self, value):
        raise IndexError("no such bin")


def site(distribution, value):
    return {"name": "z", "fn": distribution, "value": value, "infer": {}, "mask": None}


def test_a_distribution_that_cannot_score_is_the_pairs():
    own = Own(torch.zeros(5), 1.0)
    line = Own.log_prob.__code__.co_firstlineno + 1
    assert origin_of(log_prob, site(own, torch.zeros(5))) == f"{__file__}:{line}"
    assert origin_of(log_prob, site(own.to_event(1), torch.zeros(5))) == f"{__file__}:{line}"
    flow = dist.TransformedDistribution(
        dist.Normal(torch.zeros(2), 1.0).to_event(1), [dist.transforms.Planar(2)]
    )
    place = origin_of(log_prob, site(flow, torch.zeros(2)))
    assert place.startswith("pyro/distributions/transforms/planar.py:")


def test_an_automatic_guide_is_the_pairs():
    class Pair:
        model = None
        guide = pyro.infer.autoguide.AutoNormalizingFlow(lambda: None, None)

    assert origin_of(run_pair, Pair(), (X,)).startswith("pyro/")


def test_a_gradient_of_the_users_is_the_users():
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            return 2 * x

        @staticmethod
        def backward(context, gradient):
            raise LookupError("backward")

    y = Own.apply(torch.ones(1, requires_grad=True))
    names = {"__name__": "ppvae.refinement.descent"}
    exec("def descend(loss):\n    loss.backward()", names)
    line = Own.backward.__code__.co_firstlineno + 2
    assert origin_of(names["descend"], y) == f"{__file__}:{line}"
