"""The check of annealing where the guide misses a mode, and where it is exact."""

import pytest
import torch

from ppvae.diagnostics import Effort, Verdict
from ppvae.diagnostics.checks.annealing import annealed
from ppvae.diagnostics.checks.subject import Subject
from tests.diagnostics.marginal_likelihood.test_annealing_units import TwoModes
from tests.linear_gaussian import LinearGaussian

EFFORT = Effort(datapoints=10, draws=500, annealed=10, temperatures=25)


def found(pair, x):
    subject = Subject(pair, (x,), None, EFFORT, 0, False)
    return annealed(subject)


@pytest.mark.slow
def test_a_missed_mode_is_found_from_the_prior():
    x = torch.linspace(1, 6, 10)
    level, sides = found(TwoModes(), x)
    assert level.verdict is Verdict.LOOK
    assert "finds mass that the guide misses" in level.advice
    prior = level.results["bounds_from_prior"].sel(bound="ais")
    exact = TwoModes().log_evidence(x).numpy().mean()
    assert abs(float(prior["mean"]) - exact) < 4.5 * float(prior.mean_error)
    assert f"{float(prior['mean']):.2f} +- {float(prior.mean_error):.2f} from the prior" in str(
        level.answer
    )
    assert "from the prior" in sides.answer
    assert "within -" not in sides.answer


@pytest.mark.verify
def test_a_guide_without_fault_is_reported_and_bounded():
    exact = LinearGaussian.random(0, orthogonal=True, perturbation=0)
    level, sides = found(exact.pair(), exact.draw(10, 1))
    assert level.verdict is Verdict.FINE
    assert sides.verdict is Verdict.FINE
    assert "from the guide" in sides.answer
