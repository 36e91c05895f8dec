"""Draws as further rows of the data, for networks that take a single batch dimension."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from ppvae import diagnostics
from ppvae.engine import Way, draw, isolated, structure_of, way_of
from ppvae.engine.draws.guide_draws import Simulation
from ppvae.engine.isolation import seeds

X = torch.linspace(-1, 1, 24).reshape(6, 4)


class Asserts:
    """A network that checks its input; z and x are joint normal."""

    failure: type[Exception] = AssertionError
    scale = 0.6

    def decode(self, z):
        if z.dim() != 2:
            raise self.failure
        return z.view(-1, 1, 2).repeat(1, 2, 1).view(-1, 4)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            # The exact posterior has a variance of 1/3.
            loc = (x[:, :2] + x[:, 2:]) / 3
            pyro.sample("z", dist.Normal(loc, self.scale).to_event(1))

    def log_evidence(self, x):
        loading = torch.eye(2).repeat(2, 1)
        covariance = torch.eye(4) + loading @ loading.T
        return dist.MultivariateNormal(torch.zeros(4), covariance).log_prob(x)


class AssertsKey(Asserts):
    failure = KeyError


class Exact(Asserts):
    scale = 3**-0.5


class WrongRows(Asserts):
    """Rows exchange their latents without an error, as many as there are."""

    def decode(self, z):
        return super().decode(z).roll(1, 0) if len(z) != 6 else super().decode(z)


class FixedPlate(Asserts):
    def model(self, x):
        with pyro.plate("data", 6):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", 6):
            pyro.sample("z", dist.Normal((x[:, :2] + x[:, 2:]) / 3, self.scale).to_event(1))


class Noisy(Asserts):
    def decode(self, z):
        return super().decode(nn.functional.dropout(z, training=True))


WAYS = {
    Asserts: Way.FOLDED,
    AssertsKey: Way.FOLDED,
    WrongRows: Way.ONE_BY_ONE,
    FixedPlate: Way.ONE_BY_ONE,
    Noisy: Way.ONE_BY_ONE,
}


@pytest.mark.parametrize(("made", "way"), WAYS.items())
def test_draws_are_folded_into_rows_where_they_are_scored_the_same(made, way):
    pair = made()
    with isolated(pair, 0):
        assert way_of(pair, (X,), structure_of(pair, (X,))) is way
    assert diagnostics.weights(pair, X, draws=5).notnull().all()


@pytest.mark.parametrize("made", [Asserts, AssertsKey])
def test_evidence_of_a_network_that_checks_its_input_is_exact(made):
    terms = diagnostics.evidence(made(), X, draws=2000)
    error = terms.log_evidence.values - made().log_evidence(X).numpy()
    assert (abs(error) < 4 * terms.log_evidence_error.values).all()


def test_folded_draws_stand_at_their_datapoints():
    """Of the exact posterior every draw has the weight P(X), the KL is that of its datapoint."""
    pair = Exact()
    with isolated(pair, 0):
        structure = structure_of(pair, (X,))
        simulation = Simulation(seeds(0), Way.FOLDED)
        drawn = draw(pair, (X,), structure, 400, way=Way.FOLDED, simulation=simulation)
        one_by_one = Simulation(seeds(0), Way.ONE_BY_ONE)
        apart = draw(pair, (X,), structure, 400, way=Way.FOLDED, simulation=one_by_one)
    torch.testing.assert_close(drawn.log_weights, pair.log_evidence(X).expand(400, -1))
    assert drawn.latents["z"].shape == (400, 6, 2)
    torch.testing.assert_close(
        drawn.latents["z"].mean(0), (X[:, :2] + X[:, 2:]) / 3, atol=0.15, rtol=0
    )
    assert torch.equal(drawn.kl, structure.kl.expand(400, -1))
    for simulated in (drawn, apart):
        residual = simulated.predicted["x"][..., :2] - simulated.latents["z"]
        assert abs(residual.std() - 1) < 0.05  # 14 standard errors
        assert simulated.simulated["z"].shape == (400, 6, 2)
