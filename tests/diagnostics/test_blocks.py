"""Datapoints in blocks: the numbers are those of each block, in any number of processes."""

import numpy as np
import pytest
import torch

from ppvae import data, diagnostics, pairs
from tests.forked import in_processes


def pair_and_digits():
    digits = data.digits()
    torch.manual_seed(0)
    return pairs.assemble(digits, latent=2), digits


def measured():
    pair, digits = pair_and_digits()
    terms = diagnostics.sharded(diagnostics.evidence, pair, digits, rows=70, draws=20)
    refined = diagnostics.sharded(diagnostics.refine, pair, digits.test[:3], rows=2, draws=30)
    drawn = {name: values.numpy() for name, values in refined.draws.items()}
    return terms.to_dict(), refined.table.to_dict(), drawn, refined.refusals


def test_blocks_are_measured_one_by_one():
    pair, digits = pair_and_digits()
    whole = diagnostics.sharded(diagnostics.evidence, pair, digits, rows=70, draws=20)
    assert (whole.data.values == digits.rows["test"].numpy()).all()
    last = diagnostics.evidence(pair, digits.test[140:], draws=20, seed=2)
    np.testing.assert_array_equal(whole.elbo[140:], last.elbo)
    with pytest.raises(ValueError, match="rows must be at least 1, got 0"):
        diagnostics.sharded(diagnostics.evidence, pair, digits, rows=0)


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_processes():
    expected = measured()
    for found in in_processes(2, measured):
        np.testing.assert_equal(found, expected)
