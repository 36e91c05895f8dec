"""Rows whose posterior is refined within a time."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import constraints

from ppvae import data, diagnostics
from ppvae.diagnostics.names import NamedBatch, Names, named_batch
from ppvae.reports.refinement_in_time import refine_in_time
from ppvae.reports.tables import evidence_table, with_refined
from tests.linear_gaussian import LinearGaussian

DRAWS = 100


@pytest.fixture(scope="module")
def measured():
    """A pair with a known log P(X), 40 test rows, and what the guide's draws say of them."""
    law = LinearGaussian.random(0, orthogonal=True)
    dataset = data.split("x", law.draw(400, seed=1), constraints.real)
    batch = named_batch(dataset, "test")
    exact = law.marginal.log_prob(batch[0]).numpy()
    return law.pair(), batch, diagnostics.evidence(law.pair(), batch, draws=DRAWS), exact


def refined(measured, seconds, weighing=0.01):
    pair, batch, evidence, _ = measured
    options = {"draws": DRAWS, "seed": 3, "seconds": seconds, "weighing": weighing}
    return refine_in_time(pair, batch, evidence, **options)


def test_all_rows_keep_their_order_and_values(measured):
    """All of 40 rows lie within 5 standard errors of the exact log P(x)."""
    _, batch, evidence, exact = measured
    found = refined(measured, math.inf)
    assert found.whole and found.choice == ""
    assert found.table.data.values.tolist() == batch.names.rows.tolist()
    deviations = (found.table.log_evidence - exact) / (found.table.log_evidence_error + 1e-6)
    assert np.abs(deviations).max() < 5
    assert sum(found.levels.values()) == int(found.table.trusted.sum()) == len(exact)
    first, second, *_ = found.lines("test")
    assert first.startswith(f"  log P(X) of {len(exact)} of {len(exact)} test rows is trusted: ")
    assert second.endswith(f"would have said {float(evidence.log_evidence.mean()):.2f}")
    summary = diagnostics.summarize(evidence)
    better = with_refined(summary, found.table)
    assert better.term.equals(summary.term)
    mean = float(found.table.log_evidence.mean())
    assert float(better["mean"].sel(term="log_evidence")) == pytest.approx(mean)
    assert better["mean"].sel(term="kl") == summary["mean"].sel(term="kl")


def test_chunks_of_rows_are_put_together_in_order(measured):
    found = refined(measured, 1e6)  # 16 rows, then the others
    _, batch, _, exact = measured
    assert found.whole
    assert found.table.data.values.tolist() == batch.names.rows.tolist()
    assert np.abs(found.table.log_evidence - exact).max() < 0.5


def test_fewer_rows_where_the_time_is_short(measured):
    _, batch, evidence, exact = measured
    found = refined(measured, 1e-6)
    rows = found.table.data.values.tolist()
    assert len(rows) == 1 and set(rows) < set(batch.names.rows.tolist())
    assert found.guide.data.values.tolist() == rows
    start = f"1 of {len(exact)} rows, chosen at random with seed 3, as many as"
    assert found.choice.startswith(start)
    assert any("`ppvae refine` serves all" in line for line in found.lines("test"))
    table = evidence_table(diagnostics.summarize(evidence), evidence, found.table)
    assert any("log P(X), 1 rows" in line for line in table)


class ByPlace:
    """Each row is about its place among the rows."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0, 1))
            pyro.sample("x", dist.Normal(z + torch.arange(len(x)), 1), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            loc = (x - torch.arange(len(x))) / 2
            pyro.sample("z", dist.Normal(loc, math.sqrt(0.5)))


def test_the_first_rows_where_their_place_matters():
    """The guide is exact, so that log P(x) is, of rows in their place alone."""
    x = torch.arange(30) + torch.randn(30, generator=torch.Generator().manual_seed(0))
    batch = NamedBatch((x,), Names())
    evidence = diagnostics.evidence(ByPlace(), batch, draws=DRAWS)
    found = refined((ByPlace(), batch, evidence, None), 20, weighing=4.0)  # 5 rows by the estimate
    exact = dist.Normal(torch.arange(5.0), math.sqrt(2)).log_prob(x[:5]).numpy()
    assert np.allclose(found.table.log_evidence, exact, atol=1e-4)
    assert found.choice.startswith("5 of 30 rows, the first ones")


def test_rows_that_the_pair_fails_on_are_left_out(measured):
    pair, batch, _, _ = measured
    rows = batch[0].clone()
    rows[4] = 1e200
    broken = type(batch)((rows,), batch.names)
    with pytest.warns(UserWarning, match="could not be measured"):
        evidence = diagnostics.evidence(pair, broken, draws=DRAWS)
    found = refined((pair, broken, evidence, None), math.inf)
    assert not found.whole and found.table.sizes["data"] == len(rows) - 1
    assert "as many as" not in found.choice
