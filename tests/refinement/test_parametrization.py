"""Distributions rebuilt from their parameters, unconstrained."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import Unsupported, diagnostics
from ppvae.distributions import flows
from ppvae.refinement.parametrization import parametrize

POSITIVE = torch.tensor([[0.3, 1.0, 4.0], [2.0, 0.5, 0.1]])
LOC = torch.tensor([[-1.0, 0.0, 2.0], [5.0, 0.5, -0.1]])
TRIANGLE = torch.tensor([[0.5, 0.0, 0.0], [1.0, 2.0, 0.0], [-1.0, 0.3, 0.1]])
PLAIN = dist.transforms.ExpTransform(), dist.transforms.AffineTransform(1.0, 2.0)
FAMILIES = {
    "normal": dist.Normal(LOC, POSITIVE).to_event(1),
    "plates": dist.Normal(LOC[:, :1], POSITIVE[:, :1]).expand([2, 3]),
    "Laplace": dist.Laplace(LOC, POSITIVE).to_event(1),
    "Student": dist.StudentT(POSITIVE, LOC, POSITIVE).to_event(1),
    "log-normal": dist.LogNormal(LOC, POSITIVE).to_event(1),
    "gamma": dist.Gamma(POSITIVE, POSITIVE),
    "beta": dist.Beta(POSITIVE, POSITIVE),
    "Dirichlet": dist.Dirichlet(POSITIVE),
    "covariance": dist.MultivariateNormal(LOC, covariance_matrix=TRIANGLE @ TRIANGLE.T),
    "precision": dist.MultivariateNormal(LOC, precision_matrix=TRIANGLE @ TRIANGLE.T),
    "triangle": dist.MultivariateNormal(LOC, scale_tril=TRIANGLE),
    "low rank": dist.LowRankMultivariateNormal(LOC, LOC[..., None], POSITIVE),
    "relaxed": dist.RelaxedBernoulliStraightThrough(torch.tensor(0.5), logits=LOC),
    "Kumaraswamy": dist.Kumaraswamy(POSITIVE, POSITIVE),
    "flow": flows.Chain([flows.InverseAutoregressive, flows.Reversal], 3)(
        dist.Normal(LOC, POSITIVE).to_event(1), torch.zeros(0)
    ),
    "flow with context": flows.Chain([flows.AffineCoupling], 3, 2)(
        dist.Normal(LOC, POSITIVE).to_event(1), 9 * torch.ones(2, 2)
    ),
    "Pyro's flow": dist.TransformedDistribution(
        dist.Normal(LOC, POSITIVE),
        [dist.transforms.affine_coupling(3), dist.transforms.permute(3)],
    ),
    "transformed": dist.TransformedDistribution(dist.Normal(LOC, POSITIVE), [*PLAIN]).to_event(1),
}


@pytest.mark.parametrize("distribution", FAMILIES.values(), ids=FAMILIES.keys())
def test_rebuilt_is_the_same_and_every_parameter_moves(distribution):
    free = parametrize(distribution)
    value = distribution.sample((5,))
    log_prob = distribution.log_prob(value)
    rebuilt = free.build(free.raw)
    assert rebuilt.batch_shape == distribution.batch_shape
    assert rebuilt.event_shape == distribution.event_shape
    assert torch.allclose(rebuilt.log_prob(value), log_prob, rtol=1e-3, atol=1e-3)
    for index in range(len(free.raw)):
        moved = [raw + 0.1 * (index == place) for place, raw in enumerate(free.raw)]
        other = free.build(moved).log_prob(value)
        assert other.isfinite().all()
        assert not torch.isclose(other, log_prob, rtol=1e-3, atol=1e-3).all()


def test_each_datapoint_has_parameters_of_its_own():
    free = parametrize(dist.Normal(LOC[0], 1.0).to_event(1).expand([4]))
    assert [raw.shape for raw in free.raw] == [(4, 3), (4, 3)]
    free.raw[0][0] += 1
    assert torch.equal(free.build(free.raw).mean - LOC[0], torch.eye(4)[:, :1].expand(4, 3))


def test_what_has_no_parameters_is_refused():
    class Nameless(dist.TorchDistribution):
        arg_constraints = {}  # noqa: RUF012

    with pytest.raises(Unsupported, match="Nameless has no parameters"):
        parametrize(Nameless())


def test_a_parameter_at_its_bound_is_refused():
    with pytest.raises(Unsupported, match="Normal has 'scale' at the bound of its range"):
        parametrize(dist.Normal(LOC, torch.zeros(()), validate_args=False))


class Forgetful(dist.Normal):
    """Its constructor takes what it does not keep."""

    def __init__(self, loc, scale, temperature):
        super().__init__(loc * temperature, scale)


def test_a_family_that_forgets_an_argument_is_refused():
    with pytest.raises(Unsupported, match="Forgetful needs the argument 'temperature'"):
        parametrize(Forgetful(LOC, POSITIVE, 2.0))


class Faulty(dist.Normal):
    """Its constructor has a bug that only unconstrained parameters meet."""

    def __init__(self, loc, scale, validate_args=None):
        if validate_args is False:
            raise ZeroDivisionError("the bug")
        super().__init__(loc, scale)

    def expand(self, batch_shape, _instance=None):
        return Faulty(self.loc.expand(batch_shape), self.scale.expand(batch_shape))


class FaultyPair:
    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", Faulty(x, torch.ones(())))


def test_a_bug_in_a_family_is_no_refusal():
    with pytest.raises(ZeroDivisionError, match="the bug") as caught:
        diagnostics.gaps(FaultyPair(), torch.zeros(3), draws=2, steps=8)
    assert "latent site 'z' was built from its parameters" in caught.value.__notes__[0]
