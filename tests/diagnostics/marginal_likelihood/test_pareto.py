"""`pareto_k` against ArviZ's own fit and against tails of known shape."""

import math
from dataclasses import replace
from importlib.metadata import version

import numpy as np
import pytest
import torch

import ppvae
from ppvae import diagnostics
from ppvae.diagnostics.marginal_likelihood.pareto import tail_shape
from tests.linear_gaussian import LinearGaussian


def psislw(log_weights):
    """ArviZ's k of each column."""
    rows = np.ascontiguousarray(log_weights.numpy().T)
    if int(version("arviz").split(".")[0]) < 1:
        from arviz import psislw

        return np.array([psislw(row.copy())[1] for row in rows])
    from arviz_stats.base import array_stats

    return np.array([array_stats.psislw(-row)[1] for row in rows])  # it takes log likelihoods


def generalized_pareto(k, draws, rows, seed):
    """Logarithms of (U^(-k) - 1) / k: of shape k exactly, above every cutoff."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(draws, rows, generator=generator, dtype=torch.float64)
    return (torch.expm1(-k * uniform.log()) / k).log()


# Numbers of draws whose tail is a whole number: ArviZ rounds it up before 1.0 and down from it on.
@pytest.mark.parametrize("draws", [35, 100, 900])
@pytest.mark.parametrize("k", [-0.9, -0.3, 0.1, 0.5, 0.9, 3.0])
def test_fit_is_that_of_arviz(draws, k):
    log_weights = generalized_pareto(k, draws, 20, seed=draws) + 700
    assert abs(tail_shape(log_weights).numpy() - psislw(log_weights)).max() < 1e-6


@pytest.mark.parametrize("spread", [1e-3, 1, 30])
def test_fit_of_lognormal_weights_is_that_of_arviz(spread):
    generator = torch.Generator().manual_seed(0)
    log_weights = spread * torch.randn(400, 20, generator=generator, dtype=torch.float64)
    assert abs(tail_shape(log_weights).numpy() - psislw(log_weights)).max() < 1e-6


# The prior of weight 10 draws k from its value to (190 k + 5) / 200. The error of the mean over
# 1000 datapoints is at most (1 + k) / sqrt(190 * 1000) = 0.0044, of which 5 make 0.022 (false
# alarm below 1e-6); the rest of 0.04 is left to the bias of the fit, 0.01 at k = 0.9.
@pytest.mark.parametrize("k", [-0.3, 0.1, 0.5, 0.9])
def test_known_tails_are_found(k):
    shapes = tail_shape(generalized_pareto(k, 4000, 1000, seed=4))
    assert abs(float(shapes.mean()) - (190 * k + 5) / 200) < 0.04
    assert 0.5 < float(shapes.std()) * math.sqrt(190) / (1 + k) < 1.5


def with_scale(factor):
    """A pair whose guide has the exact posterior's mean and `factor` times its scale."""
    case = LinearGaussian.random(1, latent=1, orthogonal=True, perturbation=0)
    return replace(case, scale=case.scale * factor)


# Ratios N(0, 1) / N(0, s^2) exceed t with a probability that falls as t^(-1 / (1 - s^2)), up to a
# logarithm, which takes 0.09 from k among 4000 draws at s = 0.4, less at larger s. The error of
# the mean over 200 datapoints is below 0.01.
@pytest.mark.parametrize("scale", [0.4, 0.6, 0.8])
def test_a_guide_too_narrow_has_the_tail_of_the_closed_form(scale):
    case = with_scale(scale)
    tails = diagnostics.pareto_k(case.pair(), case.draw(200, seed=2), draws=4000)
    assert abs(float(tails.pareto_k.mean()) - (1 - scale**2)) < 0.12


def test_a_guide_too_wide_has_a_bounded_tail():
    case = with_scale(1.5)
    tails = diagnostics.pareto_k(case.pair(), case.draw(200, seed=2), draws=1000)
    assert float(tails.pareto_k.max()) < 0
    # Of a ratio of normals, E[r]^2 / E[r^2] is known.
    s = 1.5
    fraction = math.sqrt(2 - s**-2) / s
    assert abs(float(tails.effective_sample_size.mean()) / 1000 - fraction) < 0.01


@pytest.mark.parametrize("memory", [2**27, 50_000], ids=["whole", "chunked"])
def test_it_is_the_fit_of_the_weights_within_any_memory(memory):
    case = LinearGaussian.random(1)
    x = case.draw(30, seed=2)
    tails = diagnostics.pareto_k(case.pair(), x, draws=200, seed=5, memory=memory)
    weights = diagnostics.weights(case.pair(), x, draws=200, seed=5, memory=memory)
    assert np.allclose(tails.pareto_k, tail_shape(torch.tensor(weights.values)))
    evidence = diagnostics.evidence(case.pair(), x, draws=200, seed=5, memory=memory)
    assert np.allclose(tails.effective_sample_size, evidence.effective_sample_size)
    assert tails.attrs == {"draws": 200, "threshold": 1 - 1 / math.log10(200)}


def test_the_threshold_stops_at_its_limit():
    case = LinearGaussian.random(1)
    assert diagnostics.pareto_k(case.pair(), case.draw(2, 2), draws=3000).threshold == 0.7


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_guide_has_no_tail(dtype):
    case = LinearGaussian.random(1, orthogonal=True, perturbation=0)
    tails = diagnostics.pareto_k(case.pair(dtype), case.draw(20, seed=2), draws=500)
    assert (tails.pareto_k == -math.inf).all()
    assert np.allclose(tails.effective_sample_size, 500, rtol=1e-4)


def column(values, count=1000):
    log_weights = torch.zeros(count, 1, dtype=torch.float64)
    log_weights[: len(values), 0] = torch.tensor(values, dtype=torch.float64)
    return log_weights


def test_ties_have_a_finite_shape():
    few = [math.log(1.3)] * 3
    assert 0 < float(tail_shape(column(few))) < 0.1  # of no weight
    assert float(tail_shape(column([20.0]))) > 0.99  # of all the weight
    assert float(tail_shape(column([0.0, 0.1, 0.3]) - column([0.0] * 3 + [math.inf] * 997))) == 1
    assert float(tail_shape(column([2.0] * 30))) < 0  # an atom at the end: bounded
    assert float(tail_shape(column([2.0] * 500))) == -math.inf  # the whole tail is one atom


def test_weights_beyond_the_range_of_floating_point_have_a_shape():
    generator = torch.Generator().manual_seed(0)
    log_weights = 500 * torch.randn(1000, 10, generator=generator, dtype=torch.float64)
    shapes = tail_shape(log_weights)
    assert bool(torch.isfinite(shapes).all())
    assert bool((shapes > 10).all())


def test_order_and_level_do_not_matter():
    log_weights = generalized_pareto(0.5, 200, 10, seed=1)
    shapes = tail_shape(log_weights)
    assert torch.allclose(tail_shape(log_weights.flip(0) - 1e4), shapes, atol=1e-6)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_weight_is_refused(bad):
    with pytest.raises(ppvae.Unsupported, match="every datapoint hold a NaN or .inf"):
        tail_shape(column([bad]))


def test_no_weight_at_all_is_refused():
    with pytest.raises(ppvae.Unsupported, match="are all -inf"):
        tail_shape(torch.full((30, 1), -math.inf))


def test_too_few_draws_are_refused():
    case = LinearGaussian.random(1)
    with pytest.raises(ValueError, match="draws must be at least 21, .* got 20"):
        diagnostics.pareto_k(case.pair(), case.draw(2, seed=2), draws=20)
    assert diagnostics.pareto_k(case.pair(), case.draw(2, seed=2), draws=21).sizes["data"] == 2
