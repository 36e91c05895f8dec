"""Whether a training says that it has not converged, and goes on by default."""

import functools
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import likelihoods, posteriors, priors
from ppvae.inference import LinearWarmup
from ppvae.inference.trend import trend_of
from tests.inference.test_fit import rows, small

GENERATOR = np.random.default_rng(0)


def records(elbo, split="train", weight=lambda step: 1.0):
    return [
        {"step": 10 * n, "kl_weight": weight(n), "train_loss": 1.0, f"{split}_elbo": float(value)}
        for n, value in enumerate(elbo, 1)
    ]


TIME = np.linspace(0, 1, 100)
NOISE = 0.2 * GENERATOR.standard_normal(100)
CURVES = {
    "flat": (0 * TIME - 9, True, "changed by less than 0.05 nats"),
    "noise alone": (NOISE - 9, True, "changed by less than"),
    "rising": (TIME - 9, False, "the training ELBO rose by 0.19 nats .* last 190 steps; train"),
    "rising in noise": (9 * TIME + NOISE, False, "the training ELBO rose by 1.[5-9]"),
    "falling": (-9 * TIME, False, "fell by 1.7 nats per datapoint .*; stop earlier"),
    "risen long ago": (1 - np.exp(-20 * TIME), True, "changed by less"),
}


@pytest.mark.parametrize(("elbo", "converged", "text"), CURVES.values(), ids=CURVES.keys())
def test_the_line_through_the_last_fifth_decides(elbo, converged, text):
    trend = trend_of(records(elbo))
    assert trend.converged is converged
    assert trend.rising is ("rose" in trend.sentence)
    assert re.search(text, trend.sentence), trend.sentence


def test_where_nothing_can_be_judged():
    assert trend_of([]).converged is None
    assert "9 evaluations" in trend_of(records(TIME[:9])).sentence
    warming = trend_of(records(TIME, weight=lambda n: n / 200))
    assert warming.converged is None and "KL weight changed" in warming.sentence
    assert "validation ELBO rose" in trend_of(records(TIME, "validation")).sentence


def test_a_rise_as_the_learning_rate_falls_is_no_advice():
    rising = records(TIME - 9, "validation")
    for record, rate in zip(rising, np.linspace(3e-3, 0, 100), strict=True):
        record["learning_rate"] = rate
    trend = trend_of(rising)
    assert (trend.converged, trend.rising) == (None, False)
    assert "rose by 0.19 nats" in trend.sentence
    assert trend.sentence.endswith("last 190 steps, as the learning rate fell to 0")
    rising[-1]["learning_rate"] = 2e-3
    assert trend_of(rising).rising


def test_a_fit_says_whether_it_has_converged():
    slow = functools.partial(torch.optim.Adam, lr=1e-3)
    fit = ppvae.fit(small(), rows(), epochs=12, batch_size=6, optimizer=slow, compile=False)
    assert fit.converged is False and "train longer" in fit.convergence
    still = functools.partial(torch.optim.SGD, lr=0.0)
    fit = ppvae.fit(small(), rows(), epochs=12, batch_size=6, optimizer=still, compile=False)
    assert fit.converged is True
    stop = [lambda training: True]
    assert "callback" in ppvae.fit(small(), rows(), epochs=2, callbacks=stop).convergence


@pytest.mark.slow
def test_a_length_that_was_asked_for_is_kept():
    fit = ppvae.fit(small(), rows(), steps=120, batch_size=6, compile=False)
    assert fit.steps == 120 and fit.converged is False
    with pytest.warns(UserWarning, match="kl_weight"):
        weight = LinearWarmup(500)
        fit = ppvae.fit(small(), rows(), steps=120, batch_size=6, kl_weight=weight, compile=False)
    assert fit.converged is None


@pytest.mark.verify
def test_the_default_goes_on_until_a_probabilistic_pca_is_there(tmp_path):
    torch.manual_seed(0)
    x = torch.randn(300, 2) @ torch.randn(2, 6) + 0.5 * torch.randn(300, 6) + 2

    def pair():
        torch.manual_seed(1)
        return ppvae.VAE(
            priors.StandardNormal(2),
            likelihoods.Normal(nn.Linear(2, 6), scale=likelihoods.LearnedScale()),
            posteriors.DiagonalNormal(nn.Linear(6, 4)),
        )

    first, second = pair(), pair()
    fit = ppvae.fit(first, x, checkpoint=tmp_path, compile=False)
    assert fit.converged and 300 < fit.steps < 10_000
    # log p(x) of the maximum likelihood (Tipping and Bishop, 1999).
    values = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))
    noise = values[:-2].mean()
    exact = -0.5 * (6 * math.log(2 * math.pi) + values[-2:].log().sum() + 4 * noise.log() + 6)
    assert float(fit.history.train_elbo[-10:].mean()) == pytest.approx(float(exact), abs=0.5)
    again = ppvae.fit(second, x, resume=tmp_path, compile=False)
    assert again.steps == fit.steps
    assert all(map(torch.equal, first.parameters(), second.parameters()))
