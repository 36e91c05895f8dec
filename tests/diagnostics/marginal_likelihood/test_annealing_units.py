"""Annealing in other units of the latents, from both starts, against closed forms."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import diagnostics
from ppvae.refinement import annealed_chains
from ppvae.refinement.step_sizes import StepSizes

START = pytest.mark.parametrize("from_guide", [True, False], ids=["guide", "prior"])


class Units:
    """z_i ~ N(0, s_i^2), x_i | z_i ~ N(z_i, (s_i / 3)^2), in any units s_i of each coordinate."""

    def __init__(self, units):
        self.units = torch.as_tensor(units)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), self.units).to_event(1))
            pyro.sample("x", dist.Normal(z, self.units / 3).to_event(1), obs=x)

    def guide(self, x):
        deviation = self.units / math.sqrt(10)
        with pyro.plate("data", len(x)):
            loc = 0.9 * x + 0.5 * deviation
            pyro.sample("z", dist.Normal(loc, 0.8 * deviation).to_event(1))

    def log_evidence(self, x):
        return dist.Normal(0.0, self.units * math.sqrt(10 / 9)).log_prob(x).sum(-1)


def points(rows, columns, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64).to(dtype)


@pytest.mark.parametrize(
    "from_guide",
    [pytest.param(True, id="guide", marks=pytest.mark.slow), pytest.param(False, id="prior")],
)
def test_units_of_the_latents_do_not_matter(from_guide):
    u, found = points(4, 2), []
    for units in ((1.0, 1.0), (2.0**17, 2.0**-17)):
        pair = Units(torch.tensor(units).double())
        settings = {"temperatures": 10, "chains": 6, "leapfrogs": 1, "from_guide": from_guide}
        result = diagnostics.ais(pair, u * pair.units, **settings)
        found.append((result.log_evidence.values, result.acceptance.values))
    for level, acceptance in found[1:]:
        assert np.allclose(level, found[0][0], rtol=0, atol=1e-6)
        assert np.allclose(acceptance, found[0][1], rtol=0, atol=1e-6)


@START
@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "units",
    [
        pytest.param((1e6, 1e6), id="large"),
        pytest.param((1e-5, 1e-5), id="small", marks=pytest.mark.slow),
        pytest.param((1.0, 1e5), id="mixed", marks=pytest.mark.slow),
    ],
)
def test_evidence_is_exact_in_all_units(units, dtype, from_guide):
    pair = Units(torch.tensor(units, dtype=dtype))
    x = points(20, 2, dtype) * pair.units
    result = diagnostics.ais(
        pair, x, temperatures=30, chains=64, leapfrogs=2, from_guide=from_guide
    )
    error = result.log_evidence - pair.log_evidence(x).double().numpy()
    # 20 standardized errors, of which a normal one passes 5 with probability below 2e-5.
    assert float(abs(error / result.log_evidence_error).max()) < 5
    assert float(result.log_evidence_error.max()) < 0.3
    assert float(result.acceptance.min()) > 0.6
    assert float(result.converged.mean()) > 0.8


class TwoModes:
    """z ~ N(0, 1), x | z ~ N(z^2, 1/2): two modes, of which the guide knows the positive one."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z**2, 0.5), obs=x)

    def guide(self, x):
        root = x.clamp(min=0.05).sqrt()
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(root, 0.5 / (2 * root + 0.5)))

    def log_evidence(self, x):
        z = torch.linspace(-8, 8, 16001, dtype=torch.float64)
        joint = dist.Normal(0.0, 1.0).log_prob(z)
        joint = joint + dist.Normal(z**2, 0.5).log_prob(x[:, None].double())
        return joint.logsumexp(-1) + math.log(1e-3)


class Explosive:
    """z ~ N(0, 1), x | z ~ N(z, 1) times a factor whose scale is not finite for large z."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z, (z**2).exp().exp().clamp(min=1)), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x / 2, 0.5))


class PartlyMasked:
    """Two latents, one of them masked where nothing of it is seen."""

    def model(self, x, seen):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z, 0.1), obs=x)
            with pyro.poutine.mask(mask=seen):
                rate = pyro.sample("rate", dist.Gamma(torch.ones_like(x), 1.0))
                pyro.sample("k", dist.Poisson(rate), obs=torch.zeros_like(x))

    def guide(self, x, seen):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 0.1))
            with pyro.poutine.mask(mask=seen):
                pyro.sample("rate", dist.LogNormal(torch.zeros_like(x), 1.0))

    def log_evidence(self, x, seen):
        return dist.Normal(0.0, math.sqrt(1.01)).log_prob(x) - math.log(2) * seen


@pytest.mark.slow
def test_a_masked_latent_does_not_stop_the_others():
    x, seen = torch.linspace(-1, 1, 6), torch.arange(6) % 2 == 0
    settings = {"temperatures": 60, "chains": 32, "leapfrogs": 2}
    result = diagnostics.ais(PartlyMasked(), (x, seen), from_guide=False, **settings)
    error = result.log_evidence - PartlyMasked().log_evidence(x, seen).numpy()
    assert float(abs(error / result.log_evidence_error).max()) < 4.5
    assert float(result.acceptance.min()) > 0.6


def test_annealing_from_the_prior_finds_the_mode_that_the_guide_misses():
    x = torch.tensor([1.0, 2.0, 4.0, 6.0])
    exact = TwoModes().log_evidence(x).numpy()
    settings = {"temperatures": 30, "chains": 64, "leapfrogs": 1}
    missing = diagnostics.ais(TwoModes(), x, **settings)
    assert (missing.log_evidence.values < exact - 0.4)[1:].all()
    found = diagnostics.ais(TwoModes(), x, from_guide=False, **settings)
    assert float(abs((found.log_evidence - exact) / found.log_evidence_error).max()) < 4.5


@pytest.mark.slow
def test_bounds_from_the_guide_hold_and_show_a_missed_mode():
    settings = {"simulations": 60, "temperatures": 40, "chains": 8, "leapfrogs": 2}
    x = points(30, 2)
    pair = Units(torch.ones(2).double())
    bounds = diagnostics.bdmc(pair, x, from_guide=True, **settings)
    assert abs(float(bounds.gap)) < 4 * float(bounds.gap_error) + 0.05
    assert bool(bounds.converged)
    # E[log P(X)] is minus the entropy of x.
    entropy = 2 * 0.5 * math.log(2 * math.pi * math.e * 10 / 9)
    assert abs(float(bounds.lower_mean) + entropy) < 4 * float(bounds.lower_error)
    assert float(bounds.acceptance.min()) > 0.5
    missing = diagnostics.bdmc(TwoModes(), torch.ones(30), from_guide=True, **settings)
    assert float(missing.gap) > 0.4
    assert not bool(missing.converged)


def test_trajectories_to_where_nothing_is_finite_are_rejected():
    result = diagnostics.ais(
        Explosive(), torch.zeros(5), temperatures=10, chains=8, leapfrogs=1, from_guide=False
    )
    assert bool(np.isfinite(result.log_evidence).all())
    assert float(result.acceptance.min()) > 0.4


@pytest.mark.slow
def test_rejected_trajectories_are_no_convergence(monkeypatch):
    pair, x = Units(torch.ones(2).double()), points(6, 2)
    settings = {"temperatures": 5, "chains": 16, "leapfrogs": 1}
    assert bool(diagnostics.bound_table(pair, x, draws=100, **settings).mean_converged)
    tuned = annealed_chains.tune

    def far_too_large(*arguments):
        found = tuned(*arguments)
        return StepSizes(found.log_steps + 5, found.log_widths)

    monkeypatch.setattr(annealed_chains, "tune", far_too_large)
    table = diagnostics.bound_table(pair, x, draws=100, **settings)
    assert float(table.acceptance.max()) < 0.5
    assert not bool(table.converged.any())
    assert not bool(table.mean_converged)
    assert not bool(diagnostics.bdmc(pair, x, simulations=2, **settings).converged)


@pytest.mark.slow
def test_few_agreeing_chains_are_no_convergence():
    pair, x = Units(torch.ones(2).double()), points(6, 2)
    short = diagnostics.ais(pair, x, temperatures=2, chains=16, leapfrogs=1, from_guide=False)
    assert not bool(short.converged[1:].any())
    single = diagnostics.ais(pair, x, temperatures=10, chains=1, leapfrogs=2)
    assert not bool(single.converged.any())
