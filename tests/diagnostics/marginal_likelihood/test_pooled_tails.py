"""Tails estimated from all datapoints together, and errors of log P(X) that know of them."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from ppvae import diagnostics
from ppvae.diagnostics.marginal_likelihood.pareto import (
    tail_fit,
    tail_length,
    tail_shape,
    threshold,
)
from ppvae.diagnostics.marginal_likelihood.pooled_tails import pooled_shapes
from tests.diagnostics.marginal_likelihood.test_pareto import generalized_pareto
from tests.exact_pairs import LinearGaussian


def pooled(k, draws, rows=400, seed=0):
    shapes = tail_shape(generalized_pareto(k, draws, rows, seed)).numpy()
    return shapes, pooled_shapes(shapes, tail_length(draws))


@pytest.mark.parametrize("draws", [100, 500, 1000])
@pytest.mark.parametrize("k", [0.4, 0.55, 0.9])
def test_weights_of_one_law_have_one_k(k, draws):
    single, together = pooled(k, draws)
    assert single.std() > 0.1
    # 400 independent estimates; what is left is the bias of the fit, a few hundredths at 20.
    assert abs(together - k).max() < (0.1 if draws == 100 else 0.03)


def test_true_k_below_the_threshold_is_trusted_everywhere():
    single, together = pooled(0.55, 1000, rows=1000)
    assert (single > threshold(1000)).mean() > 0.1  # by the estimate's own error
    assert (together < threshold(1000)).all()
    single, together = pooled(0.9, 1000, rows=1000)
    assert (single < threshold(1000)).mean() > 0.05
    assert (together > threshold(1000)).all()


def test_a_few_heavy_tails_are_kept():
    weights = torch.cat(
        [generalized_pareto(0.2, 1000, 400, seed=0), generalized_pareto(1.4, 1000, 3, seed=1)], 1
    )
    together = pooled_shapes(tail_shape(weights).numpy(), tail_length(1000))
    assert (together[:400] < threshold(1000)).all()
    assert (together[400:] > 0.9).all()


def test_two_laws_are_told_apart():
    weights = [generalized_pareto(k, 1000, 200, seed=3) for k in (0.2, 1.0)]
    together = pooled_shapes(tail_shape(torch.cat(weights, 1)).numpy(), tail_length(1000))
    assert abs(together[:200].mean() - 0.2) < 0.05
    assert abs(together[200:].mean() - 1.0) < 0.05
    assert (together[:200] < 0.5).all()
    assert (together[200:] > 0.7).mean() > 0.95


def test_a_single_datapoint_and_what_is_no_estimate_keep_their_values():
    assert pooled_shapes(np.array([0.83]), 95).tolist() == [0.83]
    given = np.array([math.nan, -math.inf, 0.4, 0.5])
    together = pooled_shapes(given, 95)
    assert math.isnan(together[0])
    assert together[1] == -math.inf
    assert together[2] == pytest.approx(together[3])


class MeanField(LinearGaussian):
    """The best guide without correlations, which VI finds: weights of one law everywhere."""

    def guide(self, x):
        with pyro.plate("data", len(x)):
            scale = torch.linalg.inv(self.covariance).diagonal().rsqrt().to(x.dtype)
            pyro.sample("z", dist.Normal(x @ self.slope.T, scale).to_event(1))


def holds(terms, exact, rows):
    """The share of two-error intervals that hold the exact value."""
    error = abs(terms.log_evidence.values - exact)
    return (error < 2 * terms.log_evidence_error.values)[rows].mean()


def test_intervals_hold_at_their_rate_where_k_is_trusted():
    pair = MeanField(4, 7)
    x = pair.simulate(600, 0)
    terms = diagnostics.evidence(pair, x, draws=1000, compile=False)
    exact = pair.log_evidence(x).numpy()
    assert terms.trusted.values.all()  # of one law, so all or none
    low = (terms.pareto_k < terms.threshold).values
    assert 0.4 < low.mean() < 0.8
    # 95.4 % is nominal; 600 and 350 intervals have errors of 0.9 and 1.1 %.
    assert holds(terms, exact, slice(None)) > 0.93
    assert holds(terms, exact, low) > 0.93  # 0.64 by the delta method
    summary = diagnostics.summarize(terms).sel(term="log_evidence")
    assert abs(float(summary["mean"]) - exact.mean()) < 2 * float(summary.monte_carlo_error)


class Pareto:
    """Weights of exact Pareto tails: z ~ Beta(1 - k, 1), the guide uniform; x ~ N(0, 1)."""

    def __init__(self, k):
        self.k = k

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Beta(x.new_tensor(1 - self.k), 1.0))
            pyro.sample("x", dist.Normal(x.new_zeros(()), 1.0), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Beta(x.new_ones(()), 1.0))


def test_the_error_of_log_evidence_can_exceed_a_nat():
    x = torch.zeros(300)
    exact = dist.Normal(0.0, 1.0).log_prob(x).numpy()
    terms = diagnostics.evidence(Pareto(0.97), x, draws=500)
    assert not terms.trusted.any()
    assert float(terms.log_evidence_error.median()) > 1
    assert holds(terms, exact, slice(None)) > 0.93
    summary = diagnostics.summarize(terms).sel(term="log_evidence")
    assert abs(float(summary["mean"]) - exact.mean()) < 2 * float(summary.monte_carlo_error)


def test_a_tail_without_mean_leaves_no_finite_error():
    fit = tail_fit(generalized_pareto(1.3, 500, 5, seed=0))
    assert fit.unseen(torch.full((5,), 1.3).double(), 500).isinf().all()
    assert (fit.unseen(torch.full((5,), 0.2).double(), 500) == 0).all()


# The generalized Pareto distribution has mean 1 / (1 - k); above survival 1 / S, with q there,
# lies the mass (q + (1 + k q) / (1 - k)) / S of it.
@pytest.mark.parametrize("k", [0.5, 0.8])
def test_unseen_mass_is_that_of_the_distribution(k):
    draws, rows = 1000, 2000
    fit = tail_fit(generalized_pareto(k, draws, rows, seed=0))
    unseen = fit.unseen(torch.full((rows,), k).double(), draws)
    quantile = (draws**k - 1) / k
    exact = math.log1p((quantile + (1 + k * quantile) / (1 - k)) / draws * (1 - k))
    assert float(unseen.median()) == pytest.approx(exact, rel=0.25)  # relative to the mean drawn


def test_light_tails_change_no_error():
    pair = LinearGaussian(2, 5)
    terms = diagnostics.evidence(pair, pair.simulate(20, 0), draws=200)
    assert (terms.unseen == 0).all()
    assert terms.trusted.all()


def test_few_draws_are_not_trusted():
    pair = LinearGaussian(2, 5)
    terms = diagnostics.evidence(pair, pair.simulate(5, 0), draws=10)
    assert np.isnan(terms.pooled_k).all()
    assert not terms.trusted.any()
    summary = diagnostics.summarize(terms)
    assert np.isfinite(summary.monte_carlo_error).all()
