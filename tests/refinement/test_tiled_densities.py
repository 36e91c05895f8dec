"""Densities as code in tiles are the pair's own, whatever the shapes."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import diagnostics
from ppvae.engine import structure_of
from ppvae.refinement import tiling
from ppvae.refinement.elbo_maximization import log_joint
from ppvae.refinement.joint_densities import PlainDensity
from ppvae.refinement.own_family import guide_family
from ppvae.refinement.tiling import Tiling
from tests.linear_gaussian import LinearGaussian


class InnerPlate:
    """a ~ N(0, 1), b_t | a ~ N(a, 1), x_t | b_t ~ N(b_t, 1), the data plate in the middle."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Normal(x.new_zeros(()), 1.0))
            with pyro.plate("time", x.shape[1], dim=-1):
                b = pyro.sample("b", dist.Normal(a, 1.0))
                pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-2):
            pyro.sample("a", dist.Normal(x.mean(1, keepdim=True) / 2, 0.4))
            with pyro.plate("time", x.shape[1], dim=-1):
                pyro.sample("b", dist.Normal(x / 2, 0.9))


def densities(pair, batch, monkeypatch, captured=0.0):
    """The density of a pair in tiles of few datapoints, and by the pair itself."""
    monkeypatch.setattr(tiling, "_CAPTURED", captured)
    monkeypatch.setattr(tiling, "CACHED", 1)
    structure = structure_of(pair, batch)
    family = guide_family(pair, batch, structure)

    def own(values):
        return log_joint(pair, batch, structure, family.latents.sites, values, vectorized=True)

    plain, tiles = PlainDensity(own), Tiling(len(batch[0]), 1, 1, particles=4)
    tiles.prepare(pair, tuple(part[:6] for part in batch), structure)
    return tiles, tiles.density(batch, family, plain), plain, family


PAIRS = {
    "linear": lambda: (LinearGaussian.random(1).pair(), (LinearGaussian.random(1).draw(7, 2),)),
    "inner plate": lambda: (InnerPlate(), (torch.linspace(-3, 3, 21).reshape(7, 3),)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_tiles_are_the_pair(name, monkeypatch):
    pair, batch = PAIRS[name]()
    tiles, tiled, plain, family = densities(pair, batch, monkeypatch)
    assert tiled is not plain
    values = family.rsample(6)  # one tile and a half
    rows = torch.tensor([True, False, True, True, False, False, True])
    assert torch.allclose(tiled(values), plain(values), rtol=1e-5, atol=1e-5)
    found, expected = tiled.gradient(values, rows), plain.gradient(values, rows)
    for site in values:
        assert torch.allclose(found[site], expected[site], rtol=1e-4, atol=1e-5)
    outside = plain.gradient(values, ~rows)
    assert any(bool(slope.abs().sum() > 0) for slope in outside.values())
    assert torch.allclose(tiled(values, rows)[:, rows], plain(values)[:, rows], atol=1e-5)
    tiles.close()


class OfPlace(InnerPlate):
    """The same, the first datapoint told from the others by its place."""

    def model(self, x):
        with pyro.plate("data", len(x), dim=-2):
            a = pyro.sample("a", dist.Normal(torch.arange(len(x))[:, None].float(), 1.0))
            with pyro.plate("time", x.shape[1], dim=-1):
                b = pyro.sample("b", dist.Normal(a, 1.0))
                pyro.sample("x", dist.Normal(b, 1.0), obs=x)


def test_tiles_that_are_not_the_pair_are_not_used(monkeypatch):
    _, batch = PAIRS["inner plate"]()
    tiles, tiled, plain, _ = densities(OfPlace(), batch, monkeypatch)
    tiles.close()
    assert tiled is plain


def test_a_small_search_has_no_code(monkeypatch):
    pair, batch = PAIRS["inner plate"]()
    tiles, tiled, plain, _ = densities(pair, batch, monkeypatch, captured=60.0)
    tiles.close()
    assert tiled is plain


@pytest.mark.slow
def test_gaps_in_tiles_are_the_closed_forms(monkeypatch):
    monkeypatch.setattr(tiling, "_CAPTURED", 0.0)
    monkeypatch.setattr(tiling, "CACHED", 2000)
    case = LinearGaussian.random(3)
    x = case.draw(12, seed=1)
    used = []
    agrees = tiling.agrees
    monkeypatch.setattr(tiling, "agrees", lambda *a: used.append(agrees(*a)) or used[-1])
    found = diagnostics.gaps(case.pair(), x, draws=200)
    assert used == [True]
    for name in ("log_evidence", "elbo"):
        error = abs(found[name].values - case.terms(x)[name].numpy())
        assert (error <= 4.5 * found[f"{name}_error"].values + 1e-3).all(), name
    precision = case.posterior(x).precision_matrix[0]
    lost = float(0.5 * (precision.diagonal().log().sum() - torch.logdet(precision)))
    error = abs(found.approximation.values - lost)
    assert (error <= 4.5 * found.approximation_error.values + 2e-3).all()
    assert bool(found.converged.all())
