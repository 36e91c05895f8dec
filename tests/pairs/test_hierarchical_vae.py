"""Several layers of latents: against the collapsed linear model, and as any other pair.

Comparisons with 4 standard errors over 40 datapoints raise a false alarm in 0.3 % of seeds.
"""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, pairs, posteriors, priors
from ppvae.pairs import BottomUp, HierarchicalVAE, Ladder
from tests.pairs.layered_gaussian import NOISE, SCALE, LayeredGaussian

BOTH, ONE = LayeredGaussian.random([0.9, -1.2]), LayeredGaussian.random([1.3, 0.0])
BUILDS = {"ladder": (BOTH, BOTH.ladder), "bottom-up": (ONE, ONE.bottom_up)}
small = functools.partial(networks.MLP, hidden=[8])


@pytest.mark.parametrize(("exact", "build"), BUILDS.values(), ids=BUILDS)
def test_an_exact_guide_gives_the_collapsed_model_without_error(exact, build):
    x = exact.draw(40)
    terms = diagnostics.evidence(build(), x, draws=30)
    log_density = exact.collapsed.log_prob(x).numpy()
    for name in ("elbo", "log_evidence"):
        np.testing.assert_allclose(terms[name], log_density, atol=1e-9)
        assert float(terms[f"{name}_error"].max()) < 1e-7  # of rounding
    assert bool(terms.trusted.all())


@pytest.mark.parametrize(("exact", "build"), BUILDS.values(), ids=BUILDS)
def test_evidence_is_that_of_the_collapsed_model(exact, build):
    x = exact.draw(40)
    terms = diagnostics.evidence(build(0.05), x, draws=2000)
    difference = terms.log_evidence - exact.collapsed.log_prob(x).numpy()
    assert bool((abs(difference) < 4 * terms.log_evidence_error).all())
    assert float(terms.posterior_kl.mean()) > 0.02


def test_samples_have_the_moments_of_the_model_with_the_top_layer_fixed():
    torch.manual_seed(0)
    pair, above = BOTH.ladder(), torch.tensor([[0.0], [1.5]]).double()
    x = pair.sample(4000, above=[above])
    assert x.shape == (4000, 2, 5)
    mean = BOTH.offset + above * BOTH.direction
    deviation = BOTH.given_lower.diagonal().sqrt()
    assert bool(((x.mean(0) - mean).abs() < 4 * deviation / 4000**0.5).all())
    free = pair.sample(4000)
    variance = BOTH.collapsed.variance
    assert bool(((free.var(0) / variance - 1).abs() < 4 * (2 / 4000) ** 0.5).all())
    whole = [torch.tensor([[0.3, 0.1]]).double(), above[1:]]
    at_both = pair.sample(4000, above=whole)
    expected = BOTH.offset + whole[0] @ BOTH.loadings.T
    assert bool(((at_both.mean(0) - expected).abs() < 4 * NOISE / 4000**0.5).all())


def test_the_ladder_weighs_by_precisions():
    q, p = (posteriors.DiagonalNormal(nn.Identity())(torch.randn(3, 4).double()) for _ in range(2))
    z = torch.randn(5, 3, 2).double()
    product = pairs.layered_posteriors.precision_weighted(q, p)
    ratio = q.log_prob(z) + p.log_prob(z) - product.log_prob(z)
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))  # the same for every z
    assert SCALE > product.variance.min()


def test_conditions_and_missing_cells():
    digits = data.digits()
    seen = {
        part: (torch.rand_like(getattr(digits, part)) > 0.3).float()
        for part in ("train", "validation", "test")
    }
    for dataset in (digits.conditional(), replace(digits, seen=seen)):
        for posterior in (Ladder, BottomUp):
            pair = HierarchicalVAE.of(dataset, latent=(3, 2), network=small, posterior=posterior)
            batch = dataset.batch("train")
            ppvae.fit(pair, tuple(part[:50] for part in batch), steps=2, compile=False)
            terms = diagnostics.evidence(pair, tuple(part[:5] for part in batch), draws=30)
            assert bool(np.isfinite(terms.elbo).all())
    y = digits.conditional().conditions["test"][0][:4]
    assert HierarchicalVAE.of(digits.conditional()).sample(3, y).shape == (3, 4, 64)


def test_what_does_not_fit_together_is_refused():
    normal = priors.StandardNormal(2)
    lower = posteriors.DiagonalNormal(nn.Linear(5, 4))
    likelihood = likelihoods.Bernoulli(nn.Linear(2, 5))
    with pytest.raises(ValueError, match="got 2 priors and 1 posteriors"):
        HierarchicalVAE([normal, normal], likelihood, BottomUp([lower]))
    with pytest.raises(TypeError, match="needs posterior to be a .*LayeredPosterior, got Diag"):
        HierarchicalVAE([normal], likelihood, lower)
    with pytest.raises(TypeError, match="BottomUp takes any family"):
        Ladder([nn.Identity()], [posteriors.FullRankNormal(nn.Linear(5, 5))])
    with pytest.raises(ValueError, match="a network of features for each posterior, got 2 for 1"):
        Ladder([nn.Identity(), nn.Identity()], [lower])
    with pytest.raises(ValueError, match=r"at least 1 for each layer, got \[3, 0\]"):
        HierarchicalVAE.of(data.digits(), latent=(3, 0))
    pair = BOTH.ladder()
    with pytest.raises(ValueError, match="decode needs 2 layers, the lowest first, got 1"):
        pair.decode(torch.zeros(1, 2))
    with pytest.raises(ValueError, match="the pair has 2 layers, got 3 above"):
        pair.sample(1, above=[torch.zeros(1, 2)] * 3)
