"""A pair's densities as functions of one vector per datapoint."""

import math
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae.distributions import PowerSpherical, UniformSphere
from ppvae.engine import Unsupported, Way, draw, isolated, structure_of
from ppvae.refinement.directions import Direction
from ppvae.refinement.targets import Target, target_of


def nested(x):
    with pyro.plate("data", len(x), dim=-2):
        level = pyro.sample("level", dist.Gamma(torch.ones(len(x), 1), 1.0))
        with pyro.plate("parts", 3, dim=-1):
            z = pyro.sample("z", dist.Dirichlet(torch.ones(2)))
            pyro.sample("x", dist.Normal(level * z[..., 0], 0.5), obs=x)


def nested_guide(x):
    with pyro.plate("data", len(x), dim=-2):
        pyro.sample("level", dist.LogNormal(x.mean(-1, keepdim=True), 0.5))
        with pyro.plate("parts", 3, dim=-1):
            pyro.sample("z", dist.Dirichlet(torch.full((2,), 2.0)))


def sphere(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", UniformSphere(torch.zeros(3)))
        pyro.sample("x", dist.Normal(z, 0.5).to_event(1), obs=x)


def sphere_guide(x):
    with pyro.plate("data", len(x)):
        loc = torch.nn.functional.normalize(x, dim=-1)
        pyro.sample("z", PowerSpherical(loc, torch.tensor(4.0)))


PAIRS = {
    "nested": SimpleNamespace(model=nested, guide=nested_guide),
    "sphere": SimpleNamespace(model=sphere, guide=sphere_guide),
}
X = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("way", Way)
def test_densities_at_the_guides_draws_are_its_own(name, way):
    pair = PAIRS[name]
    with isolated(pair, 0):
        structure = structure_of(pair, (X,))
        found = target_of(pair, (X,), structure)
        target = Target(*(pair, (X,), structure, way, found.transforms, found.shapes, True))
        drawn = draw(pair, (X,), structure, 5, way=Way.ONE_BY_ONE)
        vectors = target.vectors(drawn.latents)
        at = target.densities(vectors)
    assert vectors.shape == (5, 4, target.size)
    for name, values in target.latents(vectors).items():
        assert torch.allclose(values, drawn.latents[name], atol=1e-5)
    # The volume of the map is part of each density, and no part of their ratio.
    assert torch.allclose(at.log_joint - at.log_guide, drawn.log_weights, atol=1e-4)
    assert torch.allclose(at.log_joint - at.log_prior, drawn.log_likelihood, atol=1e-4)


def test_a_density_on_the_sphere_keeps_its_integral():
    torch.manual_seed(0)
    wide = dist.Normal(torch.zeros(3), 0.8).to_event(1)
    vectors = wide.sample((20_000,))
    density = PowerSpherical(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(2.0))
    direction = Direction()
    log_density = density.log_prob(direction(vectors)) + direction.log_abs_det_jacobian(
        vectors, direction(vectors)
    )
    weights = (log_density - wide.log_prob(vectors)).exp()
    assert abs(float(weights.mean()) - 1) < 4 * float(weights.std()) / math.sqrt(len(weights))


def test_draws_of_the_prior_have_its_moments():
    pair = PAIRS["nested"]
    with isolated(pair, 0):
        target = target_of(pair, (X,), structure_of(pair, (X,)))
        latents = target.latents(target.from_prior(2000))
    assert abs(float(latents["level"].mean()) - 1) < 4 / math.sqrt(8000)
    assert abs(float(latents["z"][..., 0].mean()) - 0.5) < 4 * math.sqrt(1 / 12 / 24000)


def test_a_discrete_latent_is_refused_by_name():
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Poisson(2.0))
            pyro.sample("x", dist.Normal(k, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("k", dist.Poisson(x.abs() + 1))

    pair = SimpleNamespace(model=model, guide=guide)
    with isolated(pair, 0), pytest.raises(Unsupported, match="'k' is discrete"):
        target_of(pair, (X[:, 0],), structure_of(pair, (X[:, 0],)))
