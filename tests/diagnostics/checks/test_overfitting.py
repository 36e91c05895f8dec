"""Overfitting is found by the size of the difference, in closed form, and not by chance."""

import dataclasses
import math

import pytest
import torch

from ppvae import data
from ppvae.diagnostics import Effort, Verdict, diagnose
from ppvae.diagnostics.checks import Subject
from ppvae.diagnostics.checks.overfitting import held_out
from ppvae.engine import Unsupported
from tests.exact_pairs import LinearGaussian

PAIR = LinearGaussian(2, 5)


def parts(factor=1.0, rows=1000):
    """Data of the model, the test split wider by a factor."""
    dataset = data.split("made", PAIR.simulate(rows, 0), torch.distributions.constraints.real)
    return dataclasses.replace(dataset, test=factor * dataset.test)


def found(dataset, split="test"):
    effort = Effort(datapoints=len(dataset.test), draws=20)
    return held_out(Subject(PAIR, (dataset.test,), dataset, effort, 0, False, split))[0]


def test_the_difference_is_that_of_the_closed_form():
    wide = parts(math.sqrt(2))
    finding = found(wide)
    assert finding.verdict is Verdict.LOOK
    x = wide.test
    expected = PAIR.log_evidence(x / math.sqrt(2)).mean() - PAIR.log_evidence(x).mean()
    assert float(expected) == pytest.approx(2.5, abs=0.5)  # half a nat for each feature
    gap, error = (float(part.split()[0]) for part in finding.answer.split("is ")[1].split("+-"))
    assert abs(gap - 2.5) < 4 * error
    assert "EarlyStopping" in finding.remedy.call


def test_no_difference_is_no_alarm_and_few_data_do_not_tell():
    assert found(parts()).verdict is Verdict.FINE
    with pytest.raises(Unsupported, match="at least 20 datapoints of both, got 10"):
        found(parts(rows=100))


def test_training_data_are_not_compared_with_themselves():
    names = [
        [f.name for f in diagnose(PAIR, parts(), split=split, effort=Effort(20, 20)).findings]
        for split in ("train", "test")
    ]
    assert ["held-out data" in each for each in names] == [False, True]
