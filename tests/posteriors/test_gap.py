"""Model frozen, correlated linear-Gaussian: what each family of posteriors leaves of the gap."""

import functools

import pytest
import torch
from pyro.infer import TraceMeanField_ELBO
from torch import nn
from torch.distributions import Independent, MultivariateNormal, kl_divergence

import ppvae
from ppvae import likelihoods, posteriors, priors

pytestmark = pytest.mark.slow
LATENT, FEATURES, NOISE = 3, 6, 1.0


def exact(loadings, x):
    """Return p(z|x) of z ~ N(0, I), x | z ~ N(W z, noise^2 I)."""
    precision = torch.eye(LATENT) + loadings.T @ loadings / NOISE**2
    loc = torch.linalg.solve(precision, loadings.T @ x.T).T / NOISE**2
    return MultivariateNormal(loc, precision_matrix=precision.expand(len(x), LATENT, LATENT))


def of_normal(q, p):
    """Return KL[q(z|x) || p(z|x)], the mean over x, in closed form, and the exact p(z|x)."""
    if isinstance(q, Independent):
        q = MultivariateNormal(q.mean, torch.diag_embed(q.variance))
    return kl_divergence(q, p).mean().item(), p


def of_draws(q, p):
    """Return KL[q(z|x) || p(z|x)], the mean over x, from 200 draws, and its standard error."""
    z = q.rsample((200,))
    ratios = (q.log_prob(z) - p.log_prob(z)).mean(1)
    return ratios.mean().item(), ratios.std().item() / 200**0.5


def gap_of(family, measure=of_normal):
    """Train the posterior alone and return what `measure` says of q(z|x) and the exact p(z|x)."""
    torch.manual_seed(0)
    loadings = torch.randn(FEATURES, LATENT) @ torch.tensor(
        [[1.0, 0.8, 0.6], [0.0, 0.6, 0.5], [0.0, 0.0, 0.6]]
    )
    x = torch.randn(2000, LATENT) @ loadings.T + NOISE * torch.randn(2000, FEATURES)
    decoder = nn.Linear(LATENT, FEATURES, bias=False)
    decoder.weight = nn.Parameter(loadings, requires_grad=False)
    pair = ppvae.VAE(
        priors.StandardNormal(LATENT),
        likelihoods.Normal(decoder, scale=NOISE),
        family(nn.Linear(FEATURES, family(nn.Identity()).outputs_for(LATENT))),
    )
    steps = 4000
    ppvae.fit(
        pair,
        x,
        steps=steps,
        batch_size=500,
        objective=TraceMeanField_ELBO(num_particles=8, vectorize_particles=True),
        optimizer=functools.partial(torch.optim.Adam, lr=0.02),
        schedule=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda epoch: (1 - epoch * 4 / steps) ** 2 + 1e-4
        ),
    )
    with torch.no_grad():
        return measure(pair.encode(x), exact(loadings, x))


def best_low_rank(p, rank):
    """Return the smallest KL of a normal of covariance W W^T + D, by search."""
    torch.manual_seed(0)
    factor = torch.randn(LATENT, rank, dtype=torch.float64, requires_grad=True)
    raw = torch.zeros(LATENT, dtype=torch.float64, requires_grad=True)
    target = MultivariateNormal(torch.zeros(LATENT).double(), p.covariance_matrix[0].double())
    search = torch.optim.LBFGS([factor, raw], max_iter=500, line_search_fn="strong_wolfe")

    def kl():
        covariance = factor @ factor.T + torch.diag(raw.exp())
        return kl_divergence(MultivariateNormal(target.loc, covariance), target)

    def closure():
        search.zero_grad()
        value = kl()
        value.backward()
        return value

    search.step(closure)
    return kl().item()


@pytest.mark.verify
def test_families_leave_what_they_must():
    diagonal, p = gap_of(posteriors.DiagonalNormal)
    precision = torch.linalg.inv(p.covariance_matrix[0])
    known = 0.5 * (precision.diagonal().log().sum() - precision.logdet()).item()
    assert known > 0.1
    assert diagonal == pytest.approx(known, rel=0.02)
    full, _ = gap_of(posteriors.FullRankNormal)
    assert full < 0.01 * known
    low, _ = gap_of(functools.partial(posteriors.LowRankNormal, rank=1))
    least = best_low_rank(p, 1)
    assert least < 0.9 * known
    assert low == pytest.approx(least, rel=0.05, abs=0.01 * known)


@pytest.mark.verify
def test_flow_closes_half_of_the_gap_of_the_diagonal():
    """Fifty standard errors of the draws and more lie between the bound and the figure."""
    _, p = gap_of(posteriors.DiagonalNormal)
    precision = torch.linalg.inv(p.covariance_matrix[0])
    known = 0.5 * (precision.diagonal().log().sum() - precision.logdet()).item()
    flow, error = gap_of(functools.partial(posteriors.FlowPosterior, latent=LATENT), of_draws)
    assert -4.5 * error < flow < 0.5 * known
    assert error < 0.01 * known
