"""Each step of the tutorial shows what it says.

Statistical checks allow four standard errors: one false alarm in 16,000 comparisons.
"""

import math
from fractions import Fraction

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions.testing.fakes import NonreparameterizedNormal
from torch.distributions import MultivariateNormal, kl_divergence

from examples.tutorial import (
    page,
    step01_hidden_factors,
    step02_evidence,
    step03_prior_draws,
    step04_decoder,
    step05_warped_normal,
    step06_posterior,
    step07_formula_two,
    step08_kl_of_normals,
    step09_gradients,
    step10_red_screen,
    step11_unused_latents,
)
from examples.tutorial.measures import average
from ppvae import diagnostics

STEPS = 1000  # of training, for the pair of step 6


def near(estimate, exact, rounding=1e-4):
    return abs(estimate.value - exact) < 4 * estimate.error + rounding


def test_copies_overlap_and_a_hand_spreads_three_clusters():
    kinds = step01_hidden_factors.drawings(1000)
    images = {name: kind.train for name, kind in kinds.items()}
    counts = {name: step01_hidden_factors.distinct(values) for name, values in images.items()}
    assert counts["one length"] == 1
    assert counts["three lengths"] == 3
    assert counts["three lengths, by hand"] == 800
    apart = {
        name: step01_hidden_factors.separation(images[name], kind.labels["train"])
        for name, kind in kinds.items()
        if name.startswith("three")
    }
    assert apart["three lengths"] == math.inf
    assert 8 < apart["three lengths, by hand"] < 20
    gaps = {name: step01_hidden_factors.largest_gap(values) for name, values in images.items()}
    assert gaps["any length"] < 0.02 < 0.05 < gaps["three lengths, by hand"]


def test_sums_of_gusts_become_normal():
    for gusts in (1, 4, 16, 64):
        shape = step01_hidden_factors.shape(step01_hidden_factors.shots(50_000, gusts)[:, 0])
        # The skewness and the excess kurtosis of a sum of exponentials are known; the margins
        # are four standard errors for one gust, where 50,000 shots scatter most.
        assert shape["skewness"] == pytest.approx(2 / math.sqrt(gusts), rel=0.15, abs=0.05)
        assert shape["kurtosis"] == pytest.approx(6 / gusts, rel=0.4, abs=0.1)
        # The first term of Edgeworth's expansion; 0.006 is the scatter of 50,000 shots.
        expected = 2 / math.sqrt(gusts) / (6 * math.sqrt(2 * math.pi))
        assert shape["distance"] == pytest.approx(expected, rel=0.25, abs=0.006)


def test_evidence_by_enumeration_is_exact_and_by_draws_agrees():
    uniform = [Fraction(1, 10)] * 10
    assert step02_evidence.enumerated(range(5), uniform) == 0.5
    assert step02_evidence.enumerated(range(10), uniform) == 1
    few, many = (step02_evidence.sampled(range(5), 10, draws) for draws in (1000, 100_000))
    assert near(few, 0.5) and near(many, 0.5)
    assert few.error / many.error == pytest.approx(10, rel=0.1)
    estimate, exact = step02_evidence.density(1.0, 100_000)
    assert near(estimate, exact)
    assert exact == pytest.approx(math.exp(-0.5 / 1.25) / math.sqrt(2.5 * math.pi))


def test_prior_draws_fail_as_the_latent_grows():
    one, eight, many = (step03_prior_draws.quality(latent, 2000) for latent in (1, 8, 32))
    assert one["effective"] > 10 * eight["effective"] > 10 * many["effective"] >= 10
    assert abs(one["error"]) < 0.05
    assert many["error"] < -10
    learned, best = step03_prior_draws.learned_scale(1, 500, 50)
    assert learned == pytest.approx(best, abs=0.1)
    learned, best = step03_prior_draws.learned_scale(16, 200, 50)
    assert learned < 0.9 * best


def test_decoder_is_curve_fitting_where_z_is_known():
    z, x = step04_decoder.screens(1000)
    decoder = step04_decoder.learn(z, x, 300)
    scores = step04_decoder.scores(decoder, z, x)
    assert scores["log_prob"] == pytest.approx(scores["squared"], abs=1e-4)
    assert scores["log_prob"] == pytest.approx(scores["truth"], abs=0.03)
    again = step04_decoder.repeated(decoder, 2.0, 10_000)
    assert again["spread"] == pytest.approx(step04_decoder.NOISE, rel=4 / math.sqrt(2 * 10_000))
    assert again["mean"] == pytest.approx(again["f"], abs=4 * step04_decoder.NOISE / 100)


def test_normal_is_bent_exactly(tmp_path):
    measured = step05_warped_normal.show(tmp_path, 0.1)
    for name in ("exponential", "density", "length", "mixture"):
        assert measured[name] < 1e-12
    assert measured["radius"] == pytest.approx(3 + 0.2 * (math.sqrt(math.pi / 2) - 1), abs=0.02)


@pytest.mark.slow
def test_the_three_q_approach_what_they_should():
    x, held_out = step06_posterior.segments().train[:2000], step06_posterior.segments().test[:50]
    start, end = (
        step06_posterior.compare(step06_posterior.fitted(steps), x, held_out, 500)
        for steps in (0, STEPS)
    )
    assert end["log_evidence"] > start["log_evidence"] + 50
    assert end["posterior_kl_exact"] < 0.3
    assert end["posterior_kl"] == pytest.approx(end["posterior_kl_exact"], abs=0.05)
    # Each Q(z|X) stays away from the prior, their average does not.
    assert end["kl"] > 0.8
    assert end["aggregate_kl"] < 0.1
    assert abs(end["aggregate_mean"]) < 0.15
    assert end["aggregate_spread"] == pytest.approx(1, abs=0.15)
    assert end["distance"] < 0.3 * start["distance"]


@pytest.mark.slow
def test_both_sides_of_formula_two_agree():
    x = step06_posterior.segments().test[:20]
    sides = step07_formula_two.both_sides(step06_posterior.fitted(STEPS), x, 1000)
    assert near(sides["right"], sides["left"], rounding=1e-3)
    assert near(sides["library"], sides["left"], rounding=1e-3)


def test_formula_two_in_closed_form():
    terms = step07_formula_two.against_closed_forms(200, 1000)
    closed = {name: exact for name, (exact, _) in terms.items()}
    left = closed["log_evidence"] - closed["posterior_kl"]
    assert closed["reconstruction"] - closed["kl"] == pytest.approx(left, abs=1e-4)
    assert closed["posterior_kl"] > 0.1
    # Of light weights as these, importance sampling is low by half the squared error a datapoint.
    for exact, measured in terms.values():
        bias = 200 * measured.error**2
        assert near(measured, exact, rounding=1e-4 + bias)


def test_kl_of_normals():
    m, s = torch.randn(3).double(), torch.rand(3).double() + 0.3
    other, wide = torch.randn(3).double(), step08_kl_of_normals.covariance(3)
    narrow = torch.diag(s**2)
    formula = step08_kl_of_normals.general(m, narrow, other, wide)
    known = kl_divergence(MultivariateNormal(m, narrow), MultivariateNormal(other, wide))
    assert formula.item() == pytest.approx(known.item(), rel=1e-12)
    assert near(step08_kl_of_normals.by_draws(m, narrow, other, wide, 50_000), known.item())
    zero, one = torch.zeros(3).double(), torch.eye(3).double()
    short = step08_kl_of_normals.to_standard(m, s)
    long = step08_kl_of_normals.general(m, narrow, zero, one)
    assert short.item() == pytest.approx(long.item(), rel=1e-12)
    assert near(step08_kl_of_normals.by_draws(m, narrow, zero, one, 50_000), short.item())


@pytest.mark.slow
def test_gradients_have_one_mean_and_ordered_variances():
    exact = step09_gradients.exact_gradient(torch.zeros(step09_gradients.LATENT))
    measured = {way: step09_gradients.gradients(50_000, way) for way in step09_gradients.WAYS}
    variances = []
    for gradients in measured.values():
        for column in range(step09_gradients.LATENT):
            assert near(average(gradients[:, column]), exact[column].item())
        variances.append(gradients.var(0))
    score, baseline, reparameterized = variances
    assert (score > 10 * baseline).all()
    assert (baseline > 3 * reparameterized).all()
    assert step09_gradients.blocked() == (False, True)
    for normal, expected in ((NonreparameterizedNormal, score), (dist.Normal, reparameterized)):
        gradients = step09_gradients.gradients_in_pyro(500, normal)
        assert near(average(gradients[:, -1]), exact[-1].item())
        assert gradients[:, -1].var().item() == pytest.approx(expected[-1].item(), rel=0.5)


@pytest.mark.verify
def test_one_mode_misses_log_two_and_its_own_draws_do_not_see_it():
    pair, x = step10_red_screen.fit_guide(4000)
    one = step10_red_screen.missing(pair, x, 500)
    assert one["true_posterior_kl"].mean().item() == pytest.approx(math.log(2), abs=0.05)
    assert one["posterior_kl"].mean() < 0.05
    short = one["true_log_evidence"] - one["log_evidence"]
    assert short.mean().item() == pytest.approx(math.log(2), abs=0.05)
    assert one["effective_sample_size"].mean() > 450
    mirrored = step10_red_screen.Mirrored(pair.posterior)
    two = step10_red_screen.missing(step10_red_screen.screen(mirrored), x, 500)
    assert abs(two["true_posterior_kl"].mean()) < 0.05
    assert (two["true_log_evidence"] - two["log_evidence"]).abs().mean() < 0.02


@pytest.mark.verify
def test_six_of_ten_latents_collapse():
    x = step11_unused_latents.generate(1000)
    pair = step11_unused_latents.fit_linear(x, 1500)
    variances, worth = step11_unused_latents.predicted(x)
    assert int((variances > step11_unused_latents.ALLOWED**2).sum()) == 4
    assert diagnostics.active_units(pair, x).count == 4
    kl = np.sort(diagnostics.kl_per_dimension(pair, x).values)[::-1]
    assert (kl[4:] < 0.01).all()
    assert kl == pytest.approx(worth[:10].numpy(), abs=0.02)


def test_page_is_aligned_and_narrow(capsys):
    page.begin(3, "A title.\n\nSome words.\n\n    a  formula\n")
    page.table(("name", "value"), ("a", 1), ("longer", 22))
    assert capsys.readouterr().out.splitlines() == [
        "",
        "",
        "3. A title",
        "==========",
        "",
        "Some words.",
        "",
        "    a  formula",
        "",
        "   name     value",
        "   -----------------",
        "   a            1",
        "   longer      22",
        "",
    ]
