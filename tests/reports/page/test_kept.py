"""What was measured of a run is used again for the same weights, rows and seed."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch.distributions import constraints

import ppvae
from ppvae import data, diagnostics
from ppvae.diagnostics.names import named_batch
from ppvae.reports import Run
from ppvae.reports.formula_two import measure_formula_two
from ppvae.reports.found import Found
from ppvae.reports.kept import (
    keep_diagnosis,
    keep_formula_two,
    kept_diagnosis,
    kept_formula_two,
    mark_of,
)
from tests.linear_gaussian import LinearGaussian

EFFORT = diagnostics.Effort(datapoints=20, draws=40)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A run, its pair and data, and what was measured of it and kept."""
    law = LinearGaussian.random(0)
    dataset = data.split("x", law.draw(80, seed=1), constraints.real)
    run = Run.create("run", tmp_path_factory.mktemp("kept") / "run")
    pair = law.pair()
    ppvae.save(pair, run.folder)
    mark = mark_of(run, pair, dataset, "test", 0)
    formula = measure_formula_two(
        pair, named_batch(dataset, "test"), draws=100, seed=0, refine_seconds=60
    )
    diagnosis = diagnostics.diagnose(pair, dataset, effort=EFFORT)
    keep_formula_two(run, "test", mark, formula)
    keep_diagnosis(run, "test", mark, diagnosis, EFFORT)
    return run, pair, dataset, mark, formula, diagnosis


def test_what_is_read_is_what_was_measured(measured):
    run, _, _, mark, formula, diagnosis = measured
    again, found = kept_formula_two(run, "test", mark), kept_diagnosis(run, "test", mark)
    xr.testing.assert_identical(again.evidence, formula.evidence)
    xr.testing.assert_identical(again.refined.table, formula.refined.table)
    xr.testing.assert_identical(again.refined.guide, formula.refined.guide)
    assert again.refined.levels == formula.refined.levels and again.refined.whole
    expected = Found.of(diagnosis, EFFORT)
    assert found.content() == expected.content() and found.next_step == expected.next_step
    assert found.results.keys() == expected.results.keys()
    np.testing.assert_array_equal(
        found.results["evidence"].log_evidence, expected.results["evidence"].log_evidence
    )


@pytest.mark.parametrize("changed", ["seed", "rows", "weights"])
def test_what_changed_is_measured_anew(measured, changed):
    run, pair, dataset, mark, *_ = measured
    seed = 1 if changed == "seed" else 0
    if changed == "rows":
        dataset = data.split("x", dataset.train + 1, constraints.real)
    if changed == "weights":
        weights = run.folder / "pair.safetensors"
        before = weights.read_bytes()
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    now = mark_of(run, pair, dataset, "test", seed)
    if changed == "weights":
        weights.write_bytes(before)
    assert now != mark
    assert kept_diagnosis(run, "test", now) is None
    assert kept_formula_two(run, "test", now) is None


def test_a_damaged_file_is_named(measured):
    run, _, _, mark, *_ = measured
    path = run.folder / "diagnosis-test.json"
    text = path.read_text()
    path.write_text(text.replace('"findings"', '"findinks"'))
    with pytest.raises(ValueError, match=r"diagnosis-test.json is damaged; remove it"):
        kept_diagnosis(run, "test", mark)
    path.write_text(text)


def test_refined_rows_take_the_place_of_the_guide_s(measured):
    *_, formula, _ = measured
    by_row = formula.by_row()
    assert bool(by_row.refined.all())
    np.testing.assert_array_equal(by_row.log_evidence, formula.refined.table.log_evidence)
    exact = LinearGaussian.random(0).marginal.log_prob(measured[2].test).numpy()
    errors = 5 * by_row.log_evidence_error.values + 1e-9
    assert (np.abs(by_row.log_evidence.values - exact) < errors)[by_row.trusted.values].all()


def test_without_saved_weights_nothing_is_used_again(tmp_path):
    dataset = data.split("x", torch.randn(30, 2), constraints.real)
    run = Run.create("run", tmp_path / "run")
    assert mark_of(run, torch.nn.Identity(), dataset, "test", 0) is None
    assert kept_diagnosis(run, "test", None) is kept_formula_two(run, "test", None) is None
