"""Several views: the posterior of every subset of them, and what a missing one must not change."""

import itertools

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch import nn
from torch.distributions import MultivariateNormal

from ppvae import diagnostics, likelihoods, posteriors
from ppvae.pairs import MixtureOfExperts, MixtureOfProducts, MultimodalVAE, ProductOfExperts

FALSE_ALARM_ERRORS = 4.5  # standard errors, passed by chance once in 150,000 comparisons
SIZES, LATENT, NOISE = (3, 2, 4), 2, 0.7
SUBSETS = [s for n in (1, 2, 3) for s in itertools.combinations(range(3), n)]


def loadings():
    generator = torch.Generator().manual_seed(0)
    like = {"generator": generator, "dtype": torch.float64}
    # Orthogonal columns: the posterior of any subset of views is diagonal.
    return [
        torch.linalg.qr(torch.randn(max(size, LATENT), LATENT, **like)).Q[:size]
        * (0.5 + torch.rand(LATENT, **like))
        for size in SIZES
    ]


def linear_gaussian(kind=ProductOfExperts):
    """x_m | z ~ N(W_m z, noise^2 I); an expert is the likelihood of z, up to a factor."""
    decoders, experts = [], []
    for weight in loadings():
        size = len(weight)
        decoder = nn.Linear(LATENT, size, bias=False).double()
        decoder.weight.data = weight
        decoders.append(likelihoods.Normal(decoder, scale=NOISE))
        precision = weight.square().sum(0) / NOISE**2
        encoder = nn.Linear(size, 2 * LATENT).double()
        raw = precision.rsqrt().expm1().log()
        encoder.weight.data = torch.cat([(weight / NOISE**2 / precision).T, 0 * weight.T])
        encoder.bias.data = torch.cat([torch.zeros_like(raw), raw])
        experts.append(posteriors.DiagonalNormal(encoder))
    return MultimodalVAE(decoders, kind(experts), LATENT).double()


def drawn(rows=30):
    torch.manual_seed(1)
    z = torch.randn(rows, LATENT).double()
    return [z @ w.T + NOISE * torch.randn(rows, len(w)).double() for w in loadings()]


def marked(subset, rows=30):
    present = torch.zeros(rows, len(SIZES))
    present[:, list(subset)] = 1
    return present


def posterior_of(subset, views):
    weight = torch.cat([loadings()[place] for place in subset])
    covariance = torch.linalg.inv(torch.eye(LATENT).double() + weight.T @ weight / NOISE**2)
    x = torch.cat([views[place] for place in subset], -1)
    return x @ weight @ covariance / NOISE**2, covariance


@pytest.mark.parametrize("subset", SUBSETS)
def test_product_is_the_posterior_of_every_subset_of_views(subset):
    pair, views = linear_gaussian(), drawn()
    loc, covariance = posterior_of(subset, views)
    given = [view if place in subset else None for place, view in enumerate(views)]
    q = pair.encode(given)
    torch.testing.assert_close(q.mean, loc)
    torch.testing.assert_close(q.variance, covariance.diagonal().expand_as(loc))
    # The guide is the posterior: every weight is p(x) itself.
    weight = torch.cat([loadings()[place] for place in subset])
    noise = NOISE**2 * torch.eye(len(weight)).double()
    exact = MultivariateNormal(torch.zeros(len(weight)).double(), weight @ weight.T + noise)
    found = diagnostics.evidence(pair, (*views, marked(subset)), draws=3)
    x = torch.cat([views[place] for place in subset], -1)
    torch.testing.assert_close(torch.from_numpy(found.log_evidence.values), exact.log_prob(x))


@pytest.mark.parametrize("kind", [MixtureOfExperts, MixtureOfProducts])
@pytest.mark.parametrize("subset", [(0, 2), (1,)])
def test_evidence_by_mixtures_is_exact_too(kind, subset):
    pair, views = linear_gaussian(kind), drawn()
    batch = (*views, marked(subset))
    exact = diagnostics.evidence(linear_gaussian(), batch, draws=2).log_evidence
    found = diagnostics.evidence(pair, batch, draws=2000)
    errors = (found.log_evidence - exact) / found.log_evidence_error.clip(1e-12)
    close = abs(found.log_evidence - exact) < 1e-9
    assert bool(((abs(errors) < FALSE_ALARM_ERRORS) | close).all())


@pytest.mark.parametrize("kind", [ProductOfExperts, MixtureOfExperts, MixtureOfProducts])
def test_what_a_missing_view_holds_changes_no_bit(kind):
    pair, views = linear_gaussian(kind), drawn()
    present = torch.ones(30, 3)
    present[::2, 1] = present[1::3, 0] = 0
    present[5] = 0  # nothing is known: the posterior is the prior
    seen = []
    for absurd in (0.0, 1e30):
        filled = [
            torch.where(present[:, m : m + 1] > 0, view, absurd) for m, view in enumerate(views)
        ]
        pyro.set_rng_seed(0)
        pair.zero_grad()
        loss = Trace_ELBO().differentiable_loss(pair.model, pair.guide, *filled, present)
        loss.backward()
        seen.append([loss.detach(), *(p.grad.clone() for p in pair.parameters())])
    assert all(torch.equal(first, second) for first, second in zip(*seen, strict=True))


def test_a_row_without_views_has_the_prior():
    for kind in (ProductOfExperts, MixtureOfExperts, MixtureOfProducts):
        pair, views = linear_gaussian(kind), drawn(4)
        found = diagnostics.evidence(pair, (*views, torch.zeros(4, 3)), draws=5)
        assert abs(found.log_evidence).max() < 1e-9
