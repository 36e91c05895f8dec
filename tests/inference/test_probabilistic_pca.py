"""A linear pair reaches the maximum likelihood that probabilistic PCA has in closed form.

With one learned noise scale and a diagonal guide the optimal ELBO is the maximum likelihood
(Lucas et al., "Don't Blame the ELBO!", 2019).
"""

import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import MultivariateNormal, kl_divergence
from torch.optim.lr_scheduler import CosineAnnealingLR

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors

CASES = {
    "iris, 1 component": (lambda: load_iris().data, 1, 3000),
    "iris, 2 components": (lambda: load_iris().data, 2, 6000),
    "digits / 16, 2 components": (lambda: load_digits().data / 16, 2, 1000),
}
FAST = "iris, 1 component"


def posterior_kl(pair, x):
    """KL[q(z|x) || p(z|x)] per datapoint, both normal, from the fitted weights."""
    loadings = pair.likelihood.network.weight.detach()
    noise = pair.likelihood.scale().item()
    latent = loadings.shape[1]
    precision = torch.eye(latent, dtype=x.dtype) + loadings.T @ loadings / noise**2
    covariance = torch.linalg.inv(precision)
    loc = (x - pair.likelihood.network.bias.detach()) @ loadings @ covariance / noise**2
    guide = pair.encode(x).base_dist
    fitted = MultivariateNormal(
        guide.loc.detach(), scale_tril=torch.diag_embed(guide.scale.detach())
    )
    return kl_divergence(fitted, MultivariateNormal(loc, covariance)).numpy()


def fitted(x, components, steps, seed):
    """Fit a linear pair; return the maximum likelihood, the pair and the data as a tensor."""
    maximum = PCA(components).fit(x).score(x)
    x = torch.as_tensor(x)
    torch.manual_seed(seed)
    pair = ppvae.VAE(
        prior=priors.StandardNormal(components),
        likelihood=likelihoods.Normal(
            nn.Linear(components, x.shape[1]), scale=likelihoods.LearnedScale()
        ),
        posterior=posteriors.DiagonalNormal(nn.Linear(x.shape[1], 2 * components)),
    ).double()
    ppvae.fit(
        pair,
        x,
        steps=steps,
        batch_size=len(x),
        optimizer=functools.partial(torch.optim.Adam, lr=0.1, betas=(0.9, 0.99)),
        schedule=functools.partial(CosineAnnealingLR, T_max=steps),
        seed=seed,
    )
    return maximum, pair, x


@pytest.mark.slow
@pytest.mark.parametrize(
    ("load", "components", "steps"),
    [
        pytest.param(*case, id=name, marks=[] if name == FAST else [pytest.mark.verify])
        for name, case in CASES.items()
    ],
)
def test_maximum_likelihood_is_reached(load, components, steps):
    maximum, pair, x = fitted(load(), components, steps, seed=0)
    evidence = diagnostics.evidence(pair, x, draws=1000)
    summary = diagnostics.summarize(evidence)
    elbo, measured = summary.sel(term="elbo"), summary.sel(term="posterior_kl")
    exact = posterior_kl(pair, x)
    print(
        f"\nmaximum {maximum:.5f}, ELBO {float(elbo['mean']):.5f} "
        f"+- {float(elbo.monte_carlo_error):.5f}, measured posterior KL "
        f"{float(measured['mean']):.6f} +- {float(measured.monte_carlo_error):.6f}, "
        f"closed form {exact.mean():.6f}"
    )
    assert abs(float(elbo["mean"]) - maximum) < 0.01
    assert abs(float(summary["mean"].sel(term="log_evidence")) - maximum) < 0.01
    assert float(measured["mean"]) < 0.01
    difference = abs(float(measured["mean"]) - exact.mean())
    assert difference < 4 * float(measured.monte_carlo_error)
    assert np.isfinite(evidence.posterior_kl_error).all()
