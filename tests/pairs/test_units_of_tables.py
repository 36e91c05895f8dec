"""log P(X) of a table in metres and in kilometres differs by the Jacobian, and by nothing else."""

import numpy as np
import pytest

from benchmarks.units import BOUND, LENGTHS, largest_error, rescaled, table


@pytest.mark.parametrize("double", [True, False], ids=["double", "single"])
def test_the_model_does_not_depend_on_units(double):
    assert largest_error(double=double, steps=10) < BOUND


def test_the_tables_differ():
    here, there = table(), rescaled(table())
    assert all(np.allclose(here[n], 1000 * there[n], equal_nan=True) for n in LENGTHS)
    assert np.isnan(here["height"]).any()
