"""Distributions rebuilt from their parameters, set free."""

import pyro.distributions as dist
import pytest
import torch

from ppvae.refinement.parametrization import parametrization

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
    "transformed": dist.TransformedDistribution(dist.Normal(LOC, POSITIVE), [*PLAIN]).to_event(1),
}


@pytest.mark.parametrize("distribution", FAMILIES.values(), ids=FAMILIES.keys())
def test_rebuilt_is_the_same_and_every_parameter_moves(distribution):
    free = parametrization(distribution)
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
    free = parametrization(dist.Normal(LOC[0], 1.0).to_event(1).expand([4]))
    assert [raw.shape for raw in free.raw] == [(4, 3), (4, 3)]
    free.raw[0][0] += 1
    assert torch.equal(free.build(free.raw).mean - LOC[0], torch.eye(4)[:, :1].expand(4, 3))


def test_what_has_no_parameters_is_refused():
    class Nameless(dist.TorchDistribution):
        arg_constraints = {}  # noqa: RUF012

    with pytest.raises(ValueError, match="Nameless has no parameters that could be set free"):
        parametrization(Nameless())


def test_a_parameter_at_its_bound_is_refused():
    with pytest.raises(ValueError, match="Normal has 'scale' at the bound of its range"):
        parametrization(dist.Normal(LOC, torch.zeros(()), validate_args=False))
