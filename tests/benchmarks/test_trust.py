"""The bench of trust: what it holds for right is right, and it finds what is wrong."""

import math
import os

import numpy as np
import pytest
import torch

from benchmarks.trust.__main__ import known_of_two, table
from benchmarks.trust.cases import CASES
from benchmarks.trust.exact import Right
from benchmarks.trust.independent import by_prior
from benchmarks.trust.judged import Said, judged, upper_bound
from benchmarks.trust.normals import LinearGaussian
from benchmarks.trust.quadrature import line
from ppvae import diagnostics
from tests.marks import slow_but

WIDE = ("normal 10-d", "normal 50-d", "normal 5-d", "funnel 10-d", "two modes in", "Dirichlet")
NARROW = {name: name for name in CASES if not name.startswith(WIDE)}
FAST = ("Student-t prior", "sphere, power spherical guide", "inner plate, Poisson")


@pytest.mark.parametrize("name", slow_but(FAST, NARROW))
def test_averages_over_draws_of_the_prior_agree(name):
    # At most 150 standardized errors over all pairs, of which a normal one passes 4.5 with
    # probability below 7e-6.
    exact = CASES[name]().exact(4, seed=3)
    log_evidence, error, means, errors = by_prior(exact, 4, draws=100_000)
    assert (((log_evidence - exact.right.log_evidence) / error).abs() < 4.5).all()
    assert (error < 0.2).all()
    for site, right in exact.right.means.items():
        off = (means[site] - right).abs()
        assert (off < 4.5 * errors[site] + 1e-9).all(), site
        assert (errors[site] < 0.3 * exact.right.sds[site]).all(), site


def test_an_exact_guide_of_the_same_normals_has_this_evidence():
    pair = LinearGaussian(50, 0.7)
    x = pair.simulated(5, seed=0)["x"].double()
    found = diagnostics.evidence(pair, x, draws=30, compile=False)
    np.testing.assert_allclose(found.log_evidence, pair.right(x).log_evidence, rtol=1e-9)


def test_a_step_that_is_too_large_is_refused():
    place = torch.arange(-9.0, 9.0, 1.5).double()
    log_density = -(place**2)[None] / 2
    with pytest.raises(ArithmeticError, match="smaller step"):
        line(log_density, place[:, None], 1.5)


def test_wrong_values_are_counted_only_where_trusted():
    rows, sd = 6, 2.0
    right = Right(
        torch.zeros(rows).double(),
        {"z": torch.zeros(rows, 2).double()},
        {"z": torch.full((rows, 2), sd).double()},
    )
    log_evidence = np.array([0.0, 0.3, 0.04, 0.3, math.nan, 0.0])
    means = np.zeros((rows, 2))
    means[5, 1], means[0, 0] = 0.5, 0.19  # below 4 errors, but not below a tenth of the sd
    said = Said(
        trusted=np.array([True, True, True, False, True, True]),
        seconds=1.0,
        log_evidence=log_evidence,
        log_evidence_error=np.full(rows, 0.001),
        means={"z": means},
        mean_errors={"z": np.full((rows, 2), 0.01)},
    )
    found = judged(said, right)
    assert found.wrong.tolist() == [1, 4, 5]
    assert (found.share_trusted, found.share_wrong) == (5 / 6, 0.5)
    assert found.coverage == 2 / 5 and found.mean_coverage == 8 / 10
    assert "row 5: mean of z[1] 0.500 +- 0.010, right 0.000" in found.failures[-1]


def test_upper_bound():
    assert upper_bound(0, 200) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert upper_bound(4, 200) < 0.05 < upper_bound(5, 200) + 0.001
    assert upper_bound(3, 3) == 1


def test_importance_sampling_is_wrong_where_the_guide_knows_one_mode(capsys):
    found = table(["normal 2-d, exact", "three modes"], rows=20, chosen=("evidence",))
    exact, modes = (result["evidence"] for result in found.values())
    assert exact.share_trusted == 1 and exact.share_wrong == 0
    assert modes.share_wrong > 0.5
    assert "| all 2 pairs | evidence |" in capsys.readouterr().out


@pytest.mark.verify
def test_what_refine_trusts_can_be_trusted():
    """At most 2 % wrongly trusted in any pair; the upper bound of 4 in 200 is below 5 %."""
    found = table(rows=200, chosen=("refine",), mnist=os.environ.get("PPVAE_MNIST"))
    worth = {name: result["refine"] for name, result in found.items()}
    assert {name: part.failures for name, part in worth.items() if part.share_wrong > 0.02} == {}
    assert sum(part.trusted for part in worth.values()) >= 0.8 * 200 * len(worth)


@pytest.mark.verify
def test_one_of_two_modes_is_found_or_not_trusted():
    fine, _ = known_of_two(runs=100)
    assert fine >= 95
