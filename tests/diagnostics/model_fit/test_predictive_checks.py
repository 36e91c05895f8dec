"""Predictive checks, two-sample tests and outlier scores: uniform when right, small when wrong.

A p-value of 100 data sets is refused as not uniform by Kolmogorov and Smirnov at 0.1 %.
"""

import inspect
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy.stats import kstest
from sklearn.neighbors import NearestCentroid
from torch.distributions import constraints

import ppvae
from ppvae import data, diagnostics
from ppvae.diagnostics.model_fit import two_sample
from ppvae.diagnostics.model_fit.replicates import observations, replicate
from ppvae.diagnostics.rank_tests.exchangeable import upper_p_value
from ppvae.engine import MEMORY
from ppvae.engine.isolation import isolated, seeds
from tests.linear_gaussian import LinearGaussian
from tests.strangers import MaskedLoop, TwoLatents

CASE = LinearGaussian.random(1)
WIDER = replace(CASE, noise=1.4)  # twice the noise of the source
SEEDS = 100


def prior_check(pair, x, seed):
    statistics = {"spread": lambda x: x.std(), "signs": lambda x: (x > 0).double().sum(0)}
    result = diagnostics.prior_predictive_check(
        pair, x, statistics=statistics, draws=19, seed=seed, progress=False
    )
    return float(result.spread_p_value), float(result.signs_p_value[0])


def kernel_check(pair, x, seed):
    return (float(diagnostics.mmd(pair, x, permutations=99, seed=seed).p_value),)


def classifier_check(pair, x, seed):
    result = diagnostics.classifier_two_sample(
        *(pair, x),
        classifier=NearestCentroid(),
        folds=2,
        permutations=9,
        seed=seed,
        progress=False,
    )
    return (float(result.p_value),)


def outlier_check(pair, x, seed):
    result = diagnostics.outlier_score(pair, x[:1], reference=x[1:], draws=5, seed=seed)
    return float(result.p_value[0]), float(result.typicality_p_value[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "check",
    [
        prior_check,
        kernel_check,
        pytest.param(classifier_check, marks=pytest.mark.verify),
        outlier_check,
    ],
)
def test_p_values_are_uniform_under_the_right_model(check):
    pair = CASE.pair()
    values = [check(pair, CASE.draw(20, seed=5000 + seed), seed) for seed in range(SEEDS)]
    found = [float(kstest(column, "uniform").pvalue) for column in zip(*values, strict=True)]
    print(f"\n{check.__name__}: Kolmogorov-Smirnov p-values {found}")
    assert min(found) > 0.001


@pytest.mark.slow
def test_a_wrong_model_is_found():
    pair, x = WIDER.pair(), CASE.draw(200, seed=3)
    statistics = {"spread": lambda x: x.std(0).min()}
    prior = diagnostics.prior_predictive_check(pair, x, statistics=statistics, draws=199)
    assert float(prior.spread_p_value) > 0.99
    assert float(diagnostics.mmd(pair, x).p_value) < 0.01
    result = diagnostics.classifier_two_sample(pair, x, permutations=99)
    assert float(result.accuracy) > 0.55
    assert float(result.p_value) < 0.02


@pytest.mark.slow
def test_posterior_p_values_crowd_around_the_middle():
    pair = CASE.pair()
    statistics = {"mean": lambda x: x.mean()}
    values = [
        float(
            diagnostics.posterior_predictive_check(
                *(pair, CASE.draw(20, seed=6000 + seed)),
                statistics=statistics,
                draws=49,
                seed=seed,
            ).mean_p_value
        )
        for seed in range(30)
    ]
    # The standard deviation of 30 uniform numbers is below 0.2 with a probability below 0.1 %.
    assert np.std(values) < 0.2


def test_replicates_have_the_moments_of_the_closed_form():
    pair, x = CASE.pair(), CASE.draw(50, seed=2)
    statistics = {"mean": lambda x: x.mean(0)}
    result = diagnostics.prior_predictive_check(pair, x, statistics=statistics, draws=400)
    error = CASE.marginal.variance.sqrt().numpy() / np.sqrt(50 * 400)
    assert (abs(result["mean"].mean("draw") - CASE.offset.numpy()) < 5 * error).all()
    assert np.allclose(result.mean_observed, x.mean(0))
    guide = CASE.guide(x).loc
    predicted = diagnostics.posterior_predictive_check(pair, x, statistics=statistics, draws=400)
    expected = (CASE.offset + guide @ CASE.loadings.T).mean(0).numpy()
    assert (abs(predicted["mean"].mean("draw") - expected) < 5 * error).all()


def test_memory_cuts_the_draws_into_blocks():
    pair, x = CASE.pair(), CASE.draw(30, seed=2)
    with isolated(pair, 0):
        blocks = list(replicate(pair, x.unsqueeze(0).unbind(0), 10, 20_000, iter(range(99))))
    assert len(blocks) > 1
    assert sum(len(block.predicted["x"]) for block in blocks) == 10
    assert all(block.simulated["x"].shape[1:] == x.shape for block in blocks)


def test_what_a_mask_hides_is_the_same_everywhere():
    x = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    seen = torch.rand(12, 3, generator=torch.Generator().manual_seed(1)) < 0.5
    batch = (x, seen)
    with isolated(MaskedLoop(), 0):
        values, masks = observations(MaskedLoop(), batch)
        (block,) = replicate(MaskedLoop(), batch, 4, 2**20, iter(range(9)))
    for time in range(3):
        name = f"x_{time}"
        assert torch.equal(masks[name], seen[:, time])
        same = block.simulated[name] == values[name]
        assert bool((same == ~seen[:, time]).all())


def test_foreign_pairs_are_checked():
    x = 3**0.5 * torch.randn(40, generator=torch.Generator().manual_seed(0))
    result = diagnostics.prior_predictive_check(
        TwoLatents(), x, statistics={"largest": lambda seen: seen.max()}, draws=99
    )
    assert 0.005 < float(result.largest_p_value) < 0.995
    assert 0.005 < float(diagnostics.mmd(TwoLatents(), x).p_value)


def test_mmd_is_the_unbiased_estimate():
    pair, x = CASE.pair(), CASE.draw(8, seed=2)
    result = diagnostics.mmd(pair, x, bandwidth=1.3, permutations=3)
    with isolated(pair, 0):
        (block,) = replicate(pair, (x,), 1, 2**20, seeds(0))
    y = block.simulated["x"][0]

    def kernel(a, b):
        return float((-(a - b).square().sum() / (2 * 1.3**2)).exp())

    total = sum(
        kernel(x[i], x[j]) + kernel(y[i], y[j]) - kernel(x[i], y[j]) - kernel(x[j], y[i])
        for i in range(8)
        for j in range(8)
        if i != j
    )
    assert float(result.mmd_squared) == pytest.approx(total / 56, rel=1e-9)


def test_blocks_of_distances_do_not_change_the_test(monkeypatch):
    pair, x = CASE.pair(), CASE.draw(9, seed=2)
    whole = diagnostics.mmd(pair, x, permutations=20)
    with isolated(pair, 0):
        (block,) = replicate(pair, (x,), 1, 2**20, seeds(0))
    both = torch.cat([x, block.simulated["x"][0]])
    assert float(whole.bandwidth) == pytest.approx(np.median(torch.pdist(both)), rel=1e-12)
    monkeypatch.setattr(two_sample, "_BLOCK", 20)
    assert whole.identical(diagnostics.mmd(pair, x, permutations=20))


MEASURED = ["pit", "mmd", "classifier_two_sample", "outlier_score", "gradient_signal"]
MEASURED += ["prior_predictive_check", "posterior_predictive_check", "to_arviz"]
MEASURED += ["sbc", "vsbc", "coverage"]


@pytest.mark.parametrize("name", MEASURED)
def test_arguments_are_the_same_everywhere(name):
    parameters = inspect.signature(getattr(diagnostics, name)).parameters
    assert list(parameters)[:2] == ["pair", "data"]
    assert all(p.kind is p.KEYWORD_ONLY for p in list(parameters.values())[2:])
    assert "progress" not in parameters or parameters["progress"].default is None
    assert ("progress" in parameters) == (name != "mmd")  # which has no loop to watch
    assert "memory" not in parameters or parameters["memory"].default == MEMORY
    assert ("memory" in parameters) == (name != "gradient_signal")  # all data are one minibatch


def test_outliers_are_found_and_likely_ones_too():
    pair, known = CASE.pair(), CASE.draw(300, seed=2)
    far = CASE.offset + 20
    doubtful = torch.stack([far, CASE.offset])
    result = diagnostics.outlier_score(pair, doubtful, reference=known, draws=200)
    assert float(result.p_value[0]) < 0.01
    assert float(result.typicality_p_value[0]) < 0.01
    assert float(result.p_value[1]) > 0.95  # the most likely point of all is no outlier by it
    assert result.attrs["reference"] == 300
    with pytest.raises(TypeError, match="reference must be a tensor"):
        diagnostics.outlier_score(pair, doubtful, reference="known")


class Overfitted:
    """A normal with the mean and covariance of few rows that it was fitted to."""

    def __init__(self, fitted):
        self.moments = fitted.mean(0), fitted.T.cov()

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.MultivariateNormal(*self.moments), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))


def test_known_rows_of_a_dataset_are_those_that_the_pair_was_not_fitted_to():
    x = torch.randn(840, 20, generator=torch.Generator().manual_seed(0))
    dataset = data.Dataset("normal", x[:40], x[40:440], x[440:], constraints.real)
    pair = Overfitted(dataset.train)

    def unusual(reference):
        found = diagnostics.outlier_score(pair, dataset, reference=reference, draws=2)
        return found.attrs["reference"], float((found.p_value <= 0.1).mean())

    # By chance 0.1 with a standard error of 0.021, of 400 among 400: a false alarm of 1 in 7000.
    known, share = unusual(dataset)
    assert known == 400
    assert share == pytest.approx(0.1, abs=0.08)
    assert unusual(dataset.train)[1] > 0.5
    without = replace(dataset, validation=x[:0])
    with pytest.raises(ValueError, match="dataset 'normal', whose validation split is empty"):
        unusual(without)


def test_ranks_with_ties_are_uniform():
    generator = np.random.default_rng(0)
    values = generator.integers(0, 3, size=(10, 4000))
    found = upper_p_value(values[0], values[1:], generator)
    assert kstest(found, "uniform").pvalue > 0.001


def test_bad_arguments_are_refused():
    pair, x = CASE.pair(), CASE.draw(10, seed=2)
    with pytest.raises(ValueError, match="statistics is empty"):
        diagnostics.prior_predictive_check(pair, x, statistics={})
    with pytest.raises(ValueError, match="a statistic is NaN"):
        diagnostics.prior_predictive_check(pair, x, statistics={"a": lambda x: x.mean() * np.nan})
    refused = pytest.raises(
        ppvae.Unsupported, match="mmd needs 2 to 3 datapoints within memory=150; got 10"
    )
    with refused:
        diagnostics.mmd(pair, x, memory=150)
    with pytest.raises(ppvae.Unsupported, match=r"mmd needs 2 to \d+ datapoints .* got 1"):
        diagnostics.mmd(pair, x[:1])
    with pytest.raises(ValueError, match="bandwidth must be positive, got 0"):
        diagnostics.mmd(pair, x, bandwidth=0)
    with pytest.raises(ppvae.Unsupported, match="as many datapoints as folds=11; got 10"):
        diagnostics.classifier_two_sample(pair, x, folds=11)
    with pytest.raises(ValueError, match="folds must be at least 2, got 1") as refusal:
        diagnostics.classifier_two_sample(pair, x, folds=1)
    assert not isinstance(refusal.value, ppvae.Unsupported)


class Constant(TwoLatents):
    """Data and samples that are all 0: no distance gives a kernel its width."""

    def model(self, x):
        with pyro.plate("data", len(x)):
            a = pyro.sample("odd name", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("b", dist.Normal(a, 1.0))
            pyro.sample("seen", dist.Bernoulli(x.new_zeros(())), obs=x)


def test_equal_data_have_no_bandwidth():
    with pytest.raises(ppvae.Unsupported, match="median distance .* is 0"):
        diagnostics.mmd(Constant(), torch.zeros(8))
