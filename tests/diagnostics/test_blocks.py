"""Datapoints in blocks: the numbers are those of each block, in any number of processes."""

import numpy as np
import pytest
from torch.distributions import constraints

from ppvae import answers, data, diagnostics
from ppvae.answers import sampling
from tests.forked import in_processes
from tests.linear_gaussian import LinearGaussian

SIMPLE = LinearGaussian.random(0, orthogonal=True)
X = SIMPLE.draw(23, seed=1)


def measured():
    pair = SIMPLE.pair()
    terms = diagnostics.sharded(diagnostics.evidence, pair, X, rows=10, draws=20)
    refined = diagnostics.sharded(diagnostics.refine, pair, X[:3], rows=2, draws=30)
    drawn = {name: values.numpy() for name, values in refined.draws.items()}
    dataset = data.split("x", X, constraints.real, validation=0.1, test=0.8)
    rows = answers.sample(pair, dataset, 11, seed=1, shared=True).to_numpy()
    return terms.to_dict(), refined.table.to_dict(), drawn, refined.refusals, rows


def test_blocks_are_measured_one_by_one():
    dataset = data.split("x", X, constraints.real, validation=0.1, test=0.8)
    whole = diagnostics.sharded(
        diagnostics.evidence, SIMPLE.pair(), dataset, rows=5, draws=20, seed=3
    )
    assert (whole.data.values == dataset.rows["test"].numpy()).all()
    last = diagnostics.evidence(SIMPLE.pair(), dataset.test[15:], draws=20, seed=6)
    np.testing.assert_array_equal(whole.elbo[15:], last.elbo)
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        diagnostics.sharded(diagnostics.evidence, SIMPLE.pair(), X, rows=0)


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_processes(monkeypatch):
    monkeypatch.setattr(sampling, "_BLOCK", 4)
    expected = measured()
    for found in in_processes(2, measured):
        np.testing.assert_equal(found, expected)
