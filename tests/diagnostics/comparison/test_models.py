"""`compare` against the closed forms of linear-Gaussian pairs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.diagnostics.comparison import models
from ppvae.diagnostics.comparison.stacking import stacking_weights
from tests.linear_gaussian import LinearGaussian
from tests.strangers import OneBatchDimension, TwoLatents

SOURCE = LinearGaussian.random(1, orthogonal=True, perturbation=0)


def exact(offset, case=SOURCE):
    """A wrong mean, with the exact posterior as guide: its draws have no error."""
    case = replace(case, offset=case.offset + offset)
    return replace(case, intercept=-case.slope @ case.offset)


def test_every_number_is_that_of_the_closed_form():
    x = SOURCE.draw(100, seed=2)
    cases = {"true": exact(0), "off": exact(0.3), "far": exact(1.0)}
    result = diagnostics.compare({name: case.pair() for name, case in cases.items()}, x, draws=25)
    truth = np.stack([case.terms(x)["log_evidence"].numpy() for case in cases.values()])
    difference = truth - truth[0]
    assert list(result.model.values) == list(cases)
    assert result.best == "true"
    assert np.allclose(result.log_evidence, truth)
    assert np.allclose(result["mean"], truth.mean(1))
    assert np.allclose(result.data_error, truth.std(1, ddof=1) / 10)
    assert np.allclose(result.difference, difference.mean(1))
    assert np.allclose(result.difference_data_error, difference.std(1, ddof=1) / 10)
    assert np.isnan(result.fit_error).all()
    assert (result.monte_carlo_error < 1e-6).all()
    assert np.allclose(result.stacking_weight, stacking_weights(truth.T).weights, atol=1e-4)
    assert not result.unreliable.any()


def test_fits_of_one_name_are_told_apart_from_datapoints():
    x = SOURCE.draw(60, seed=2)
    cases = {"a": [exact(0.1), exact(0.2), exact(0.4)], "b": [exact(0.6), exact(0.9)]}
    pairs = {name: [case.pair() for case in fits] for name, fits in cases.items()}
    result = diagnostics.compare(pairs, x, draws=25)
    truth = {
        name: np.stack([case.terms(x)["log_evidence"].numpy() for case in fits])
        for name, fits in cases.items()
    }
    means = {name: values.mean(1) for name, values in truth.items()}
    error = {name: values.std(ddof=1) / math.sqrt(len(values)) for name, values in means.items()}
    assert np.allclose(result["mean"], [means["a"].mean(), means["b"].mean()])
    assert np.allclose(result.fit_error, list(error.values()))
    assert np.allclose(result.difference_fit_error, [0, math.hypot(error["a"], error["b"])])
    pointwise = truth["b"].mean(0) - truth["a"].mean(0)
    assert np.allclose(result.difference_data_error[1], pointwise.std(ddof=1) / math.sqrt(60))
    assert list(result.fit_model.values) == ["a", "a", "a", "b", "b"]
    assert np.allclose(result.fit_mean, np.concatenate(list(means.values())))
    assert abs(float(result.stacking_weight.sum()) - 1) < 1e-9
    assert np.allclose(result.stacking_weight[0], result.fit_stacking_weight[:3].sum(), atol=1e-12)


@pytest.mark.slow
# 200 data sets: the 95 % interval of the paired difference covers the true one 179 to 198 times
# with probability 0.999; t quantiles of 49 degrees of freedom stand for those of the normal.
def test_the_paired_difference_covers_the_true_one():
    near, far = exact(0), exact(0.3)
    marginal, other = near.marginal, far.marginal
    truth = -float(torch.distributions.kl_divergence(marginal, other))
    hits = 0
    for seed in range(200):
        x = SOURCE.draw(50, seed=1000 + seed)
        scores = {"near": near, "far": far}
        result = diagnostics.compare(
            {name: case.pair() for name, case in scores.items()},
            x,
            log_evidence=lambda pair, batch: _closed(pair, batch[0]),
            progress=False,
        )
        measured = float(result["mean"][1] - result["mean"][0])
        error = float(result.difference_data_error.max())
        hits += abs(measured - truth) < 2.0096 * error
    print(f"\ncovered {hits} of 200")
    assert 179 <= hits <= 198


def _closed(pair, x):
    case = replace(SOURCE, offset=pair.likelihood.network.bias.detach())
    return case.marginal.log_prob(x)


def test_a_pair_with_bad_tails_is_flagged():
    narrow = replace(exact(0), scale=exact(0).scale * 0.3)
    pairs = {"narrow": narrow.pair(), "exact": exact(0).pair()}
    result = diagnostics.compare(pairs, SOURCE.draw(40, seed=2), draws=200)
    assert result.unreliable.values.tolist() == [True, False]
    assert float(result.unreliable_share[0]) > 0.5


def test_another_estimator_is_taken_at_its_word():
    pairs = {"a": exact(0).pair(), "b": exact(1).pair()}
    x = SOURCE.draw(10, seed=2)
    result = diagnostics.compare(pairs, x, log_evidence=lambda pair, batch: _closed(pair, x))
    assert np.allclose(result.log_evidence[0], exact(0).terms(x)["log_evidence"])
    assert np.isnan(result.unreliable_share).all()
    assert not result.unreliable.any()
    with pytest.raises(ValueError, match=r"log_evidence must return .* \(10,\).*got shape \(\)"):
        diagnostics.compare(pairs, x, log_evidence=lambda pair, batch: 0.0)


def vae(likelihood):
    return ppvae.VAE(
        priors.StandardNormal(2), likelihood, posteriors.DiagonalNormal(nn.Linear(3, 4))
    )


def test_probabilities_and_densities_do_not_compare():
    pairs = {
        "discrete": vae(likelihoods.Bernoulli(nn.Linear(2, 3))),
        "density": vae(likelihoods.Normal(nn.Linear(2, 3), scale=1.0)),
    }
    with pytest.raises(
        ppvae.Unsupported, match="density.*a density of 3 numbers.*discrete.*are not comp"
    ):
        diagnostics.compare(pairs, torch.ones(4, 3), draws=30)


class Standardized(OneBatchDimension):
    def model(self, x):
        super().model(x / 2)


def test_densities_of_rescaled_data_do_not_compare():
    with pytest.raises(ppvae.Unsupported, match="observe different numbers"):
        diagnostics.compare(
            {"plain": OneBatchDimension(), "scaled": Standardized()}, torch.ones(4, 1), draws=30
        )


def test_foreign_pairs_with_other_sites_compare():
    x = torch.randn(20, generator=torch.Generator().manual_seed(0))
    result = diagnostics.compare({"a": TwoLatents(), "b": [TwoLatents()]}, x, draws=50)
    assert np.allclose(result.log_evidence[0], TwoLatents().log_evidence(x), atol=1e-4)
    assert (result.difference_data_error < 1e-6).all()


@pytest.mark.parametrize("pairs", [{}, {"a": []}])
def test_no_pairs_are_refused(pairs):
    with pytest.raises(ValueError, match="is an? empty|is empty"):
        diagnostics.compare(pairs, torch.ones(4, 3))


# Of 40 data sets with ten equally good models, at most 7 have a p-value below 0.05 with
# probability 0.998; without allowance for their number, 25 would.
def test_the_number_of_equally_good_models_is_allowed_for():
    alarms = errors = 0
    for seed in range(40):
        scores = np.random.default_rng(seed).normal(size=(10, 60))
        result = models._summary(
            [str(index) for index in range(10)], scores, scores * 0, scores * 0, draws=100
        )
        alarms += bool((result.difference_p_value < 0.05).any())
        errors += bool((result.difference < -2 * result.difference_data_error).any())
    assert alarms <= 7
    assert errors > 15


def test_a_worse_model_has_a_small_p_value():
    x = SOURCE.draw(100, seed=2)
    pairs = {"true": exact(0).pair(), "far": exact(1.0).pair(), "same": exact(0).pair()}
    result = diagnostics.compare(pairs, x, draws=25)
    assert result.difference_p_value.values[1] < 0.001
    assert result.difference_p_value.values[[0, 2]].tolist() == [1, 1]


def test_a_single_datapoint_has_no_p_value():
    pairs = {"true": exact(0).pair(), "far": exact(1.0).pair()}
    result = diagnostics.compare(pairs, SOURCE.draw(1, seed=2), draws=25)
    assert np.isnan(result.difference_p_value).all()


class FailsFarAway(OneBatchDimension):
    def guide(self, x):
        super().guide(torch.where(x > 100, math.nan, x))


def test_a_datapoint_that_one_pair_fails_on_is_left_out():
    x = torch.randn(20, 1, generator=torch.Generator().manual_seed(0))
    pairs = {"sound": OneBatchDimension(), "fails": FailsFarAway()}
    expected = diagnostics.compare(pairs, x, draws=30)
    with pytest.warns(UserWarning, match="1 of 21 datapoints could not be measured, row 20"):
        result = diagnostics.compare(pairs, torch.cat([x, torch.full((1, 1), 1e3)]), draws=30)
    assert np.isnan(result.log_evidence[:, 20]).all()
    assert np.allclose(result["mean"], expected["mean"], atol=1e-4)
    assert np.isfinite(result.difference_p_value).all()
