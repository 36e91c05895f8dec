"""The verdict on the likelihood: errors of the guide are not blamed on it, its own are found."""

from dataclasses import replace

import numpy as np
import pytest

from ppvae import diagnostics
from ppvae.diagnostics import Effort, Verdict
from ppvae.diagnostics.checks import Subject
from ppvae.diagnostics.checks.model import predictions
from tests.linear_gaussian import LinearGaussian

EXACT = LinearGaussian.random(0, orthogonal=True, perturbation=0.0)
GUIDES = {
    "exact": EXACT,
    "mean off by 0.2 sd": replace(EXACT, intercept=EXACT.intercept + 0.2 * EXACT.scale),
    "mean off by 1 sd": replace(EXACT, intercept=EXACT.intercept + EXACT.scale),
    "too wide": replace(EXACT, scale=EXACT.scale * 1.5),
    "far too narrow": replace(EXACT, scale=EXACT.scale * 0.4),
    "no correlations": LinearGaussian.random(0, perturbation=0.0),
}


def found(true, pair, rows):
    effort = Effort(datapoints=rows, draws=50)
    subject = Subject(pair.pair(), (true.draw(rows, 3),), None, effort, 0, False)
    (finding,) = predictions(subject)
    return finding


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_the_guide_is_not_blamed_on_the_likelihood(name):
    case = GUIDES[name]
    finding = found(case, case, 2000)
    assert finding.verdict is Verdict.FINE, str(finding)
    if name == "far too narrow":  # weights do not correct this one
        assert "the guide is off" in finding.answer


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, Verdict.BAD), (2.0, Verdict.BAD)])
def test_a_wrong_likelihood_is_found(factor, verdict):
    finding = found(EXACT, replace(EXACT, noise=EXACT.noise * factor), 500)
    assert finding.verdict is verdict, str(finding)
    assert "too narrow, too wide" in finding.advice


def test_a_small_error_is_no_large_one_with_many_data():
    finding = found(EXACT, replace(EXACT, noise=EXACT.noise * 1.2), 2000)
    assert finding.verdict is Verdict.LOOK, str(finding)


def test_resampled_draws_are_of_the_posterior():
    wrong = GUIDES["mean off by 0.2 sd"]
    x = EXACT.draw(1000, 3)
    corrected = diagnostics.pit(wrong.pair(), x)
    plain = diagnostics.pit(wrong.pair(), x, proposals=1)
    assert float(corrected.p_value_adjusted.x.min()) > 0.01 > float(plain.p_value_adjusted.x.min())
    # exp(-0.2^2) for each of three latents is the share of effective draws.
    latents = len(EXACT.scale)
    share = float(corrected.effective_sample_size.mean()) / 100
    assert share == pytest.approx(np.exp(-latents * 0.04), abs=0.02)
    deviation = corrected.deviation.x.values
    ranks = np.sort(corrected.ranks.x.values, axis=0)
    for column, value in zip(ranks.T, deviation, strict=True):
        shares = np.searchsorted(column, np.arange(100), side="right") / 1000
        assert value == pytest.approx(abs(shares - np.arange(1, 101) / 100).max())
    assert float(corrected.distance(corrected).x.max()) == 0
