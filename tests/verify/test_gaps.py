"""The coverage of the intervals of `gaps`, with ten times the copies of the fast test."""

import pytest
from scipy.stats import binom

from tests.diagnostics.inference_gaps.test_amortization import covered

COPIES = 2000
LOW, HIGH = binom.ppf([0.0005, 0.9995], COPIES, 0.95)  # false alarm 0.1 %

pytestmark = pytest.mark.verify


@pytest.mark.parametrize("draws", [100, 500])
@pytest.mark.parametrize("seed", [1, 2])
def test_gaps(draws, seed):
    hits = covered(COPIES, draws, seed)
    print(f"\ncovered of {COPIES}, expected {LOW:.0f} to {HIGH:.0f}: {hits}")
    assert all(LOW <= count <= HIGH for count in hits.values())
