"""The table of bounds, and Pareto-smoothed weights against ArviZ's."""

from importlib.metadata import version

import numpy as np
import pytest
import torch

from ppvae import diagnostics
from ppvae.diagnostics.marginal_likelihood.pareto import smoothed
from tests.diagnostics.marginal_likelihood.test_pareto import generalized_pareto
from tests.linear_gaussian import LinearGaussian


def psislw(log_weights):
    """ArviZ's smoothed log weights of each column, normalized."""
    rows = np.ascontiguousarray(log_weights.numpy().T)
    if int(version("arviz").split(".")[0]) < 1:
        from arviz import psislw

        return np.stack([psislw(row.copy())[0] for row in rows], axis=1)
    from arviz_stats.base import array_stats

    return np.stack([array_stats.psislw(-row)[0] for row in rows], axis=1)


# Numbers of draws whose tail is a whole number, as in the tests of k.
@pytest.mark.parametrize("draws", [35, 100, 900])
@pytest.mark.parametrize("k", [-0.9, -0.3, 0.1, 0.5, 0.9, 3.0])
def test_smoothed_weights_are_those_of_arviz(draws, k):
    log_weights = generalized_pareto(k, draws, 20, seed=draws) + 50
    ours = smoothed(log_weights)
    ours = (ours - ours.logsumexp(0)).numpy()
    theirs = psislw(log_weights)
    assert abs(ours - theirs).max() < 1e-9
    assert abs(ours - (log_weights - log_weights.logsumexp(0)).numpy()).max() > 1e-3


def test_smoothing_keeps_order_level_and_what_has_no_tail():
    log_weights = generalized_pareto(0.5, 200, 10, seed=1)
    smooth = smoothed(log_weights)
    ordered = smooth.gather(0, log_weights.argsort(0))  # the largest may be cut to one value
    assert bool((ordered.diff(dim=0) >= 0).all())
    assert bool((smooth <= log_weights.amax(0) + 1e-12).all())
    assert torch.allclose(smoothed(log_weights - 1e4), smooth - 1e4, atol=1e-6)
    equal = torch.full((100, 3), -7.0, dtype=torch.float64)
    assert torch.equal(smoothed(equal), equal)
    assert torch.allclose(smoothed(log_weights, memory=1), smooth, rtol=0, atol=1e-12)


def table_of(perturbation, **arguments):
    case = LinearGaussian.random(3, perturbation=perturbation)
    x = case.draw(20, seed=4)
    return case, x, diagnostics.bound_table(case.pair(), x, **arguments)


@pytest.mark.slow
def test_bounds_are_those_of_the_closed_forms():
    case, x, table = table_of(0.05, draws=4000, temperatures=50, chains=32)
    terms = case.terms(x)
    exact = np.stack([terms["elbo"].numpy(), *[terms["log_evidence"].numpy()] * 3])
    # 80 standardized errors, of which a normal one passes 4.5 with probability below 7e-6.
    standardized = (table.log_evidence - exact) / table.log_evidence_error
    assert float(abs(standardized).max()) < 4.5
    means = (table["mean"] - exact.mean(1)) / table.mean_error
    assert float(abs(means).max()) < 4.5
    assert bool(table.converged.all())
    assert bool(table.mean_converged)
    assert list(table.bound.values) == ["elbo", "importance", "pareto_smoothed", "ais"]


@pytest.mark.slow
def test_terms_agree_with_those_of_the_other_diagnostics():
    case, x, table = table_of(0.1, draws=100, temperatures=5, chains=4, seed=3)
    evidence = diagnostics.evidence(case.pair(), x, draws=100, seed=3)
    for bound, term in (("elbo", "elbo"), ("importance", "log_evidence")):
        row = table.sel(bound=bound)
        assert np.allclose(row.log_evidence, evidence[term])
        assert np.allclose(row.log_evidence_error, evidence[f"{term}_error"])
        mean = diagnostics.summarize(evidence).sel(term=term)
        assert float(row.mean_error) == pytest.approx(float(mean.monte_carlo_error))
    for name in ("pareto_k", "pooled_k", "trusted", "unseen"):
        assert np.allclose(table[name], evidence[name])
    assert float(table.unseen.max()) > 0.01
    assert table.attrs["threshold"] == evidence.attrs["threshold"]
    annealed = diagnostics.ais(case.pair(), x, temperatures=5, chains=4, seed=3)
    assert np.array_equal(table.sel(bound="ais").log_evidence, annealed.log_evidence)


@pytest.mark.slow
def test_annealing_that_fell_short_is_told():
    # From the prior in two jumps, on a posterior of a hundredth of its width: far too low.
    case = LinearGaussian.random(3, noise=0.01, orthogonal=True, perturbation=1e-3)
    x = case.draw(20, seed=4)
    short = diagnostics.bound_table(
        case.pair(), x, draws=1000, temperatures=2, chains=16, from_guide=False
    )
    assert int((~short.converged).sum()) > 10
    assert not bool(short.mean_converged)
    exact = case.terms(x)["log_evidence"].numpy()
    assert abs(short.log_evidence.sel(bound="importance") - exact).max() < 1


@pytest.mark.slow
def test_an_exact_guide_has_converged():
    case = LinearGaussian.random(3, orthogonal=True, perturbation=0)
    for dtype in (torch.float32, torch.float64):
        pair, x = case.pair(dtype), case.draw(3, seed=4)
        table = diagnostics.bound_table(pair, x, draws=30, temperatures=10, chains=4)
        assert bool(table.converged.all())
        exact = case.terms(x)["log_evidence"].numpy()
        assert abs(table.log_evidence - exact).max() < 1e-4


@pytest.mark.slow
def test_one_datapoint_has_no_spread():
    case = LinearGaussian.random(3)
    table = diagnostics.bound_table(
        case.pair(), case.draw(1, seed=4), draws=30, temperatures=2, chains=2
    )
    assert bool(table.mean_converged)
    assert bool(np.isfinite(table.mean_error).all())


def test_too_few_draws_are_refused():
    case = LinearGaussian.random(3)
    with pytest.raises(ValueError, match="draws must be at least 21, .* got 20"):
        diagnostics.bound_table(case.pair(), case.draw(2, seed=4), draws=20)
