"""Guides whose flow has no inverse: they know the density of their own draws."""

import functools

import pyro
import pyro.distributions as dist
import pyro.distributions.transforms as transforms
import pytest
import torch
from torch import nn

from ppvae import Unsupported, diagnostics
from ppvae.engine import draw, isolated, structure_of, way_of

X = torch.linspace(-1, 1, 12, dtype=torch.double).reshape(4, 3)


class Flowing(nn.Module):
    """z ~ N(0, I), x | z ~ N(z, I): x ~ N(0, 2 I)."""

    def __init__(self, *flows):
        super().__init__()
        self.flows = nn.ModuleList(flows).double()

    def base(self, x):
        return dist.Normal(x / 2, (0.8 + 0.1 * x.abs()).sqrt()).to_event(1)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.TransformedDistribution(self.base(x), list(self.flows)))

    def log_evidence(self, x):
        return dist.Normal(0.0, 2**0.5).log_prob(x).sum(-1)


def made(*names):
    torch.manual_seed(1)
    return Flowing(*(getattr(transforms, name)(3) for name in names))


FLOWS = [
    ["planar"],
    ["radial"],
    ["neural_autoregressive"],
    ["block_autoregressive"],
    ["polynomial"],
    ["affine_autoregressive", "planar", "householder", "radial"],
]


@pytest.mark.parametrize("names", FLOWS, ids="-".join)
def test_own_draws_have_the_density_of_the_change_of_variables(names):
    pair = made(*names)
    recorded = []
    pair.base = functools.partial(_recorded, pair.base, recorded)
    with isolated(pair, 0):
        structure = structure_of(pair, (X,))
        way = way_of(pair, (X,), structure)
        recorded.clear()
        drawn = draw(pair, (X,), structure, 2, way=way)
        for index, base in enumerate(recorded):
            for row, start in enumerate(base.start):
                jacobian = torch.autograd.functional.jacobian(
                    lambda z: functools.reduce(lambda y, flow: flow(y), pair.flows, z[None])[0],
                    start,
                )
                expected = base.log_prob(base.start)[row] - torch.linalg.slogdet(jacobian)[1]
                torch.testing.assert_close(
                    drawn.log_posterior[index, row], expected, atol=1e-5, rtol=0
                )


def _recorded(make, recorded, x):
    base = make(x)
    sample = base.base_dist.rsample

    def rsample(shape=()):
        base.start = sample(shape)
        return base.start

    base.rsample = rsample
    base.expand = lambda shape, _instance=None: base
    recorded.append(base)
    return base


@pytest.mark.parametrize("names", [["planar"], ["radial", "planar"]], ids="-".join)
def test_evidence_of_a_flow_without_inverse_is_exact(names):
    pair = made(*names)
    terms = diagnostics.evidence(pair, X, draws=400)
    error = terms.log_evidence.values - pair.log_evidence(X).numpy()
    assert (abs(error) < 4 * terms.log_evidence_error.values).all()


ELSEWHERE = {
    "surgery": lambda pair: diagnostics.surgery(pair, X),
    "ais": lambda pair: diagnostics.ais(pair, X, temperatures=2, chains=2),
    "coverage": lambda pair: diagnostics.coverage(pair, X, simulations=8, draws=9, levels=(0.6,)),
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_needs_the_density_elsewhere_says_so(name):
    with pytest.raises(
        Unsupported, match="at latent site 'z' the transform Planar has no inverse"
    ):
        ELSEWHERE[name](made("planar"))


class WrongVolume(transforms.Planar):
    """It has a log determinant that is not that of its Jacobian."""

    def log_abs_det_jacobian(self, x, y):
        return super().log_abs_det_jacobian(x, y) + 0.1


def test_a_flow_whose_volume_is_wrong_has_no_evidence():
    with pytest.raises(Unsupported, match=r"flow \(WrongVolume\) differs.* by 0\.1 nats"):
        diagnostics.evidence(Flowing(WrongVolume(3)), X, draws=5)
