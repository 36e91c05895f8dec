"""The pair that is told classes and numbers, against Bayesian linear regression."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import ppvae
from ppvae import data, diagnostics, pairs
from tests.conditional import LinearGaussian

FALSE_ALARM_AT = 4.5  # standard errors: of 60 means one lies so far off once in 2500 times
LEVELS = [2, 0]  # a class and a number, three numbers one-hot


def told(rows, seed=1):
    generator = torch.Generator().manual_seed(seed)
    number = torch.randn(rows, generator=generator, dtype=torch.float64)
    return torch.stack([torch.arange(rows).double() % 2, number], 1)


def case_of(seed=0):
    case = LinearGaussian.random(seed)
    factors = case.pair()
    pair = pairs.ConditionalVAE(factors.prior, factors.likelihood, factors.posterior, LEVELS)
    return case, pair.double()


def regression(case, x, given):
    """Mean of the coefficients z given responses x, and their log evidence (Bishop, 3.86)."""
    design, noise = case.loadings, case.noise**-2
    prior, expected = case.spread**-2, given @ case.of_condition.T
    responses = x - given @ case.direct.T
    precision = prior.diag() + noise * design.T @ design
    mean = torch.linalg.solve(precision, (expected * prior + noise * responses @ design).T).T
    misfit = noise * (responses - mean @ design.T).square().sum(1)
    misfit += (prior * (mean - expected).square()).sum(1)
    logs = prior.log().sum() + len(design) * math.log(noise / (2 * math.pi))
    return mean, (logs - precision.logdet() - misfit) / 2


def test_evidence_is_that_of_bayesian_linear_regression():
    case, pair = case_of()
    y = told(8)
    x = case.marginal(pair.one_hot(y)).sample()
    mean, expected = regression(case, x, pair.one_hot(y))
    terms = diagnostics.evidence(pair, (x, y), draws=20)
    np.testing.assert_allclose(terms.log_evidence, expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(terms.elbo, expected, rtol=0, atol=1e-9)
    assert torch.allclose(pair.encode(x, y).mean, mean, atol=1e-9)


def test_a_translation_keeps_the_coefficients_and_changes_what_is_told():
    case, pair = case_of(2)
    rows, y, other = 4000, told(2), told(2, seed=5).flip(0)
    x = case.marginal(pair.one_hot(y)).sample()
    mean, _ = regression(case, x, pair.one_hot(y))
    many = [part.repeat(rows, 1) for part in (x, y, other)]
    error = ((case.loadings**2) @ (1 / case.precision) / rows).sqrt()
    for found, then in (
        (pair.translate(*many), other),
        (pair.reconstruct(*many[:2]), y),
        (pair.translate(*many[:2], many[1]), y),
    ):
        expected = mean @ case.loadings.T + pair.one_hot(then) @ case.direct.T
        deviation = (found.unflatten(0, (rows, 2)).mean(0) - expected) / error
        assert bool((deviation.abs() < FALSE_ALARM_AT).all()), deviation


def test_samples_of_what_is_told():
    case, pair = case_of(3)
    y = told(2)
    x = pair.sample(20_000, y)
    marginal = case.marginal(pair.one_hot(y))
    deviation = (x.mean(0) - marginal.mean) / (marginal.variance / 20_000).sqrt()
    assert bool((deviation.abs() < FALSE_ALARM_AT).all())


@pytest.fixture(scope="module")
def digits():
    torch.manual_seed(0)
    rows = data.digits()
    return pairs.ConditionalVAE.of(rows, latent=2), rows.test[:4], rows.labels["test"][:4]


def test_classes_as_people_have_them(digits):
    pair, x, y = digits
    expected = pair.encode(x, y).mean
    for same in (y.float(), y.numpy(), pd.Series(y.numpy()), pd.DataFrame({"digit": y.numpy()})):
        assert torch.equal(pair.encode(x.numpy(), same).mean, expected)
    assert pair.sample(3, y.numpy()).shape == (3, 4, 64)
    for one in (7, np.int64(7), torch.tensor(7)):
        assert pair.sample(3, one).shape == (3, 64)
        assert pair.translate(x, y, one).shape == (4, 64)


def test_a_number_of_no_class_is_refused_everywhere(digits):
    pair, x, y = digits
    wrong, z = y.clone(), torch.zeros(4, 2)
    wrong[2] = 11
    words = "needs y to be classes 0 to 9, got 11 in row"
    for refused in (
        lambda: pair.encode(x, wrong),
        lambda: pair.decode(z, wrong),
        lambda: pair.sample(2, wrong),
        lambda: pair.reconstruct(x, wrong),
        lambda: pair.translate(x, y, wrong),
        lambda: ppvae.fit(pair, (x, wrong), steps=1),
    ):
        with pytest.raises(ValueError, match=f"{words} 2"):
            refused()
    for refused in (lambda: pair.sample(2, 11), lambda: pair.translate(x, y, 11)):
        with pytest.raises(ValueError, match=f"{words} 0"):
            refused()
    _, several = case_of()
    columns = torch.tensor([[1.0, -7.0], [0.5, 0.0]]).double()
    with pytest.raises(ValueError, match=r"classes 0 to 1, got 0.5 in row 1, column 0"):
        several.encode(torch.zeros(2, 5), columns)


def test_what_is_missing_or_misshapen_is_said(digits):
    pair, x, y = digits
    with pytest.raises(ValueError, match="needs y, the condition of each datapoint, got none"):
        pair.sample(3)
    with pytest.raises(ValueError, match="needs y, the condition of each datapoint, got none"):
        pair.encode(x)
    with pytest.raises(ValueError, match=r"y of shape \(data, 1\), or \(data,\), got \(4, 10\)"):
        pair.encode(x, torch.eye(10)[y])
    with pytest.raises(ValueError, match="has no labels"):
        pairs.ConditionalVAE.of(replace(data.digits(), labels={}))


def test_its_class_is_found_in_the_dataset(digits):
    pair, _, _ = digits
    rows = pairs.ConditionalVAE.batches_of(data.digits())
    classes = data.given_classes(rows)
    assert pairs.ConditionalVAE.batches_of(rows) is rows  # the class is there already
    assert pairs.ConditionalVAE.of(rows, latent=2).levels == [10]
    batch = rows.batch("test")
    assert torch.equal(classes.of(batch), rows.labels["test"].long())
    assert torch.equal(classes.put(batch, 9 - classes.of(batch))[1], 9 - batch[1])
    assert data.given_classes(data.digits().labeled(known=20)) is None
    use = diagnostics.condition_use(pair, rows, samples=50, rows=100)
    assert use.sizes["class"] == 10 and np.isfinite(use.decoder_information)


@pytest.mark.parametrize("compile_from", [None, 1])
def test_a_later_row_of_no_class_ends_the_training_in_words(digits, compile_from, monkeypatch):
    monkeypatch.setattr(ppvae.inference.training, "generate", ppvae.engine.compilation.replay)
    _, x, y = digits
    rows, classes = x.repeat(75, 1), y.repeat(75)
    classes[290] = -1
    pair = pairs.ConditionalVAE.of(data.digits(), latent=2)
    with pytest.raises(ValueError, match="classes 0 to 9, got -1 in row") as caught:
        ppvae.fit(pair, (rows, classes), steps=15, batch_size=20, compile_from=compile_from)
    assert "at step" in caught.value.__notes__[0]
