"""Draws at once where a pair allows it, else one after the other, with the same result."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.transforms import Planar
from torch import nn

from ppvae import Unsupported, diagnostics
from ppvae.engine import isolated, model_vectorizable, structure_of, vectorizable
from ppvae.inference import ImportanceWeighted_ELBO

X = torch.linspace(-1, 1, 6).unsqueeze(-1)


class Plain:
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.7).to_event(1))

    def decode(self, z):
        return z


class OneBatchDimension(Plain):
    def decode(self, z):
        if z.dim() != 2:
            raise RuntimeError("expected (data, latent)")
        return z


class Flattens(Plain):
    """Something of a wrong but fitting shape comes back."""

    def decode(self, z):
        return z.flatten().flip(0).reshape(z.shape)


class Noisy(Plain):
    def decode(self, z):
        return nn.functional.dropout(z, training=True)


class OwnDrawsAlone(Plain):
    """Its flow has no inverse: it raises KeyError for draws that it did not make."""

    def __init__(self):
        self.flow = Planar(1)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            base = dist.Normal(x / 2, 0.7).to_event(1)
            pyro.sample("z", dist.TransformedDistribution(base, [self.flow]))


EXPECTED = {
    Plain: (True, True),
    OneBatchDimension: (False, False),
    Flattens: (False, False),
    Noisy: (False, False),
    OwnDrawsAlone: (False, True),
}


@pytest.mark.parametrize(("made", "expected"), EXPECTED.items())
def test_draws_are_taken_at_once_where_they_are_scored_the_same(made, expected):
    pair = made()
    with isolated(pair, 0):
        structure = structure_of(pair, (X,))
        answers = [test(pair, (X,), structure) for test in (vectorizable, model_vectorizable)]
    assert tuple(answers) == expected
    assert diagnostics.weights(pair, X, draws=5).notnull().all()


REFUSED = {
    OneBatchDimension: r"cannot score several draws at once \(expected \(data, latent\)\); pass",
    Flattens: "otherwise than one after the other.*vectorize_particles=False",
    Noisy: "otherwise than one after the other.*vectorize_particles=False",
}


@pytest.mark.parametrize(("made", "message"), REFUSED.items())
def test_objectives_refuse_particles_at_once(made, message):
    pair = made()
    with pytest.raises(Unsupported, match=message):
        ImportanceWeighted_ELBO(3).loss(pair.model, pair.guide, X)
    one_by_one = ImportanceWeighted_ELBO(3, vectorize_particles=False)
    assert one_by_one.loss(pair.model, pair.guide, X) > 0


def test_objectives_accept_a_guide_that_scores_its_own_draws_alone():
    pair = OwnDrawsAlone()
    assert ImportanceWeighted_ELBO(3).loss(pair.model, pair.guide, X) > 0


class Buggy(Plain):
    """A bug that appears at the second run, whatever the draws."""

    runs = 0

    def decode(self, z):
        self.runs += 1
        if self.runs > 1:
            raise AttributeError("the bug")
        return z


def test_a_bug_is_not_taken_for_a_network_of_one_batch_dimension():
    with pytest.raises(AttributeError, match="the bug"):
        diagnostics.weights(Buggy(), X, draws=5)
