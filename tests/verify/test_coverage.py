"""The coverage of `evidence`'s intervals with ten times the seeds of the fast tests."""

import pytest
from scipy.stats import binom

from tests.diagnostics.marginal_likelihood.test_evidence import (
    CHUNKED,
    means_covered,
    new_data_covered,
)

SEEDS = 2000
LOW, HIGH = binom.ppf([0.0005, 0.9995], SEEDS, 0.95)  # false alarm 0.1 %

pytestmark = pytest.mark.verify


@pytest.mark.parametrize("memory", [2**27, CHUNKED], ids=["whole", "chunked"])
@pytest.mark.parametrize("kind", ["VAE", "subsampled"])
@pytest.mark.parametrize("draws", [10, 1000])
def test_means(draws, kind, memory):
    hits = means_covered(draws, kind, memory, SEEDS)
    print(f"\ncovered of {SEEDS}, expected {LOW:.0f} to {HIGH:.0f}: {hits}")
    assert all(LOW <= count <= HIGH for count in hits.values())


@pytest.mark.parametrize("draws", [1, 10, 1000])
def test_new_data(draws):
    hits = new_data_covered(draws, SEEDS)
    print(f"\ncovered of {SEEDS}, expected {LOW:.0f} to {HIGH:.0f}: {hits}")
    assert LOW <= hits <= HIGH
