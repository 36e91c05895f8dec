"""`refine` gives the right log P(X) and posterior where the guide does not, or says so.

Standard errors are exceeded fourfold in 1 of 16,000 cases, and seeds are fixed.
"""

import math
from types import SimpleNamespace

import pyro
import pyro.distributions as dist
import pytest
import torch

import ppvae
from ppvae import diagnostics
from tests.exact_pairs import LinearGaussian, standard


class Biased(LinearGaussian):
    """Its guide is off by a standard deviation and too narrow."""

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = x @ self.slope.T + self.scale_tril.diagonal()
            scale = 0.4 * self.scale_tril.diagonal()
            pyro.sample("z", dist.Normal(loc, scale).to_event(1))


class Squared:
    """x ~ N(z^2, 0.3^2): the posterior has the modes z and -z, of which the guide knows one."""

    grid = torch.linspace(-12, 12, 100_001, dtype=torch.float64)

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(()), 2.0))
            pyro.sample("x", dist.Normal(z.square(), 0.3), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            root = x.clamp(min=0.1).sqrt()
            pyro.sample("z", dist.Normal(root, 0.15 / root))

    def simulate(self, rows, seed):
        z, noise = standard(2, rows, seed=seed)
        return (2 * z).square() + 0.3 * noise

    def log_evidence(self, x):
        log_prior = dist.Normal(0.0, 2.0).log_prob(self.grid)
        log_likelihood = dist.Normal(self.grid.square(), 0.3).log_prob(x.double()[:, None])
        return (log_prior + log_likelihood).logsumexp(1) + math.log(self.grid[1] - self.grid[0])


def check_evidence(refined, right, least=1.0):
    """Check that so large a share is trusted, and that what is trusted is right."""
    table = refined.table
    trusted = torch.as_tensor(table.trusted.values)
    assert trusted.double().mean() >= least
    errors = torch.as_tensor(table.log_evidence_error.values)
    difference = torch.as_tensor(table.log_evidence.values) - right
    assert (difference.abs() < 4 * errors + 1e-4)[trusted].all()


def test_an_exact_guide_serves_all():
    pair = LinearGaussian()
    x = pair.simulate(20, seed=1)
    refined = ppvae.refine(pair, x, draws=100)
    assert (refined.table.level == 0).all()
    check_evidence(refined, pair.log_evidence(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_biased_guide_is_cured(dtype):
    pair = Biased(dtype=dtype)
    x = pair.simulate(20, seed=1)
    assert not bool(diagnostics.evidence(pair, x).trusted.any())
    refined = ppvae.refine(pair, x, draws=400)
    assert (refined.table.level > 0).all()
    check_evidence(refined, pair.log_evidence(x))
    right = (x @ pair.slope.T).double()
    error = refined.mean_errors["z"]
    assert ((refined.means["z"] - right).abs() < 4 * error).all()
    assert (error < 0.2 * pair.scale_tril.diagonal().double()).all()
    deviations = pair.covariance.diagonal().sqrt()
    assert torch.allclose(refined.sds["z"].mean(0), deviations, rtol=0.05)
    assert torch.allclose(refined.draws["z"].double().std(0).mean(0), deviations, rtol=0.05)


def test_a_mode_that_the_guide_misses_is_found():
    pair = Squared()
    x = pair.simulate(20, seed=2)
    refined = ppvae.refine(pair, x, draws=400)
    check_evidence(refined, pair.log_evidence(x))
    two = x > 1
    positive = (refined.draws["z"] > 0).double().mean(0)[two]
    assert (positive - 0.5).abs().max() < 0.15


@pytest.mark.slow
def test_discrete_latents_that_the_guide_draws_are_summed_out():
    def model(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(torch.tensor(0.3)))
            z = pyro.sample("z", dist.Normal(4 * k - 2, 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            k = pyro.sample("k", dist.Bernoulli(torch.sigmoid(x)))
            pyro.sample("z", dist.Normal(x / 2 + 2 * k, 0.5))

    x = 2 * standard(10, seed=0)
    parts = [
        math.log(share) + dist.Normal(loc, math.sqrt(2)).log_prob(x)
        for share, loc in ((0.7, -2.0), (0.3, 2.0))
    ]
    refined = ppvae.refine(SimpleNamespace(model=model, guide=guide), x, draws=400)
    assert set(refined.draws) == {"z"}
    # Whether the last row passes depends on how a processor rounds.
    check_evidence(refined, torch.logaddexp(*parts).double(), least=0.9)


def test_datapoints_that_no_level_serves_are_named():
    x = Biased().simulate(4, seed=1)
    broken = Biased()

    def guide(x):
        nan = torch.where(x[:, :1] == broken_row, math.nan, 0.0)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x @ broken.slope.T + nan, 0.3).to_event(1))

    broken_row = x[2, 0]
    with pytest.warns(UserWarning, match="1 of 4 datapoints could not be measured, row 2"):
        refined = ppvae.refine(SimpleNamespace(model=broken.model, guide=guide), x, draws=200)
    assert refined.table.trusted.values.tolist() == [True, True, False, True]
    assert refined.refusals == {2: "the pair fails on it"}
    assert "3 of 4 datapoints trusted" in repr(refined)
    html = refined._repr_html_()
    assert "3 of 4 datapoints trusted" in html and "row 2: the pair fails on it" in html
    assert bool(refined.weighted["z"][:, 2].isnan().all())


def test_a_tail_that_no_effort_covers_is_not_trusted():
    pair = Biased()
    x = pair.simulate(3, seed=1)
    x[1] += 1e4  # far outside of what the guide and the prior can reach by a few steps
    brief = diagnostics.Escalation(climbing=1, rounds=0, searching=0, temperatures=0)
    refined = ppvae.refine(pair, x, draws=100, effort=brief)
    assert not bool(refined.table.trusted[1])
    assert "row 1" in repr(refined)
    assert "at the best level" in refined.refusals[1] or "worth" in refined.refusals[1]


def test_draws_and_table_as_arviz_data():
    pair = Biased()
    refined = ppvae.refine(pair, pair.simulate(3, seed=1), draws=100)
    found = refined.to_arviz()
    assert found["posterior"]["z"].dims == ("chain", "draw", "data", "z_dim_0")
    assert found["refinement"]["log_evidence"].dims == ("data",)
    assert set(refined.summarize().term.values) >= {"log_evidence", "posterior_kl"}


def test_too_few_draws_are_refused():
    with pytest.raises(ValueError, match="draws must be at least 21"):
        ppvae.refine(Biased(), torch.zeros(2, 5), draws=20)


@pytest.mark.slow
def test_annealed_chains_serve_what_no_mixture_does():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z[..., 1] + 2 * z[..., 0].square(), 0.2), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), 2), 0.7).to_event(1))

    z, noise = standard(2, 10, 2, seed=0)
    x = z[:, 1] + 2 * z[:, 0].square() + 0.2 * noise[:, 0]
    grid = torch.linspace(-9, 9, 50_001, dtype=torch.float64)
    spread = dist.Normal(2 * grid.square(), math.sqrt(1.04)).log_prob(x.double()[:, None])
    right = (dist.Normal(0.0, 1.0).log_prob(grid) + spread).logsumexp(1)
    right = right + math.log(grid[1] - grid[0])
    pair = SimpleNamespace(model=model, guide=guide)
    effort = diagnostics.Escalation(rounds=0, searching=0)
    refined = ppvae.refine(pair, x, effort=effort)
    annealed = refined.table.level == refined.levels.index("annealing")
    assert int(annealed.sum()) >= 2
    errors = torch.as_tensor(refined.table.log_evidence_error.values)
    difference = torch.as_tensor(refined.table.log_evidence.values) - right
    trusted = torch.as_tensor(refined.table.trusted.values)
    assert (difference.abs() < 4 * errors)[trusted].all()
    assert bool((refined.table.trusted & annealed).any())


def test_a_datapoint_of_probability_zero_is_named_and_the_others_served():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Binomial(4, logits=z), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x - 2, 1.0))

    x = torch.tensor([0.0, 7.0, 4.0, 2.0])
    with pytest.warns(UserWarning, match="1 of 4 datapoints .*, row 1: .* outside the support"):
        refined = ppvae.refine(SimpleNamespace(model=model, guide=guide), x, draws=200)
    assert refined.table.trusted.values.tolist() == [True, False, True, True]
    assert set(refined.refusals) == {1}


def test_a_posterior_of_infinite_density_is_named_and_the_others_served():
    """At x = 0 the density of x is infinite for every z < 0."""

    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))
            pyro.sample("x", dist.Beta(z.exp(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))

    x = torch.tensor([0.3, 0.6, 0.0, 0.9])
    pair = SimpleNamespace(model=model, guide=guide)
    refined = ppvae.refine(pair, x, draws=200, effort=diagnostics.BRIEF)
    assert refined.table.trusted.values.tolist() == [True, True, False, True]
    assert set(refined.refusals) == {2}
    assert refined.refusals[2].startswith("a density is infinite or NaN at a draw")
