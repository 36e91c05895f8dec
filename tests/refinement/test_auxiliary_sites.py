"""Guides that make their latents of auxiliary sites, as Pyro's automatic ones."""

from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer.autoguide import AutoNormal

import ppvae
from ppvae import Unsupported, diagnostics

X = torch.linspace(-3, 3, 20)
EXACT = dist.Normal(0.0, 2**0.5).log_prob(X).numpy()


def model(x):
    with pyro.plate("data", len(x)):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.fixture
def off():
    """A pair whose guide is wrong by .4 posterior standard deviations."""
    guide = AutoNormal(model, init_loc_fn=lambda site: X / 2 + 0.3, init_scale=0.6)
    guide(X)
    return SimpleNamespace(model=model, guide=guide)


def test_refined_draws_are_weighted_by_the_density_that_they_are_from(off):
    """Their errors are stated; one of 20 is beyond 5 by chance in 1 of 87,000 runs."""
    refined = ppvae.refine(off, X)
    table = refined.table
    assert bool(table.trusted.all())
    assert (np.abs(table.log_evidence - EXACT) < 5 * table.log_evidence_error + 1e-4).all()
    given = diagnostics.evidence(off, X, posterior=refined, draws=20)
    np.testing.assert_allclose(given.log_evidence, table.log_evidence, atol=1e-6)


def test_annealing_does_not_start_from_a_guide_of_which_it_does_not_know_the_density(off):
    with pytest.raises(Unsupported, match=r"'z' the guide makes it of auxiliary sites.*prior"):
        diagnostics.ais(off, X, chains=2, temperatures=3)
