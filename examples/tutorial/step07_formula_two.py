"""Formula (2): what can be maximized, and what remains.

    log P(X) - KL[Q(z|X) || P(z|X)]  =  E_Q[log P(X|z)] - KL[Q(z|X) || P(z)]     (2)

The left side is what we want: probable data, and a Q that is near the true P(z|X). Nobody can
compute it in general. The right side is what we can compute, with draws from Q alone: how well z
explains X, minus the cost of describing z. Maximizing the right side raises the left side.
"""

# Where it comes from. Start with how far Q is from the truth:
#     KL[Q(z|X) || P(z|X)] = E_Q[log Q(z|X) - log P(z|X)]
# Bayes' rule replaces the unknown truth by known things, P(z|X) = P(X|z) P(z) / P(X):
#     KL[Q(z|X) || P(z|X)] = E_Q[log Q(z|X) - log P(X|z) - log P(z) + log P(X)]
# log P(X) does not depend on z, so averaging over z leaves it as it is. The first and the third
# term make KL[Q(z|X) || P(z)]. What remains is (2), rearranged. No step is an
# approximation: (2) holds for every Q, good or bad.

import math
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors

from . import page
from .measures import Estimate, exact, over_latent
from .step06_posterior import fitted, segments

NOISE = 0.5


@torch.no_grad()
def right_side(pair: ppvae.VAE, x: Tensor, draws: int) -> Estimate:
    """Measure the right side over some datapoints, from draws z ~ Q(z|X)."""
    guide = pair.encode(x)
    z = guide.sample((draws,))
    log_ratio = pair.prior().log_prob(z) - guide.log_prob(z)
    values = (pair.decode(z).log_prob(x) + log_ratio).double()
    error = values.std(0).square().sum().sqrt() / len(x) / math.sqrt(draws)
    return Estimate(values.mean().item(), error.item())


def both_sides(pair: ppvae.VAE, x: Tensor, draws: int) -> dict[str, float | Estimate]:
    """Measure each side on its own: the left by an integral over z, the right by draws."""
    grid = over_latent(pair, x)
    log_evidence = grid.log_evidence.mean().item()
    posterior_kl = grid.posterior_kl(pair, x).mean().item()
    library = diagnostics.summarize(diagnostics.evidence(pair, x, draws=draws)).sel(term="elbo")
    return {
        "log_evidence": log_evidence,
        "posterior_kl": posterior_kl,
        "left": log_evidence - posterior_kl,
        "right": right_side(pair, x, draws),
        "library": Estimate(float(library["mean"]), float(library["monte_carlo_error"])),
    }


def linear_pair(loadings: Tensor) -> ppvae.VAE:
    """Return z ~ N(0, I), X ~ N(W z, NOISE^2 I), and a Q(z|X) with the right mean.

    P(z|X) is normal with precision I + W'W / NOISE^2. Its dimensions depend on each other, those
    of Q do not: that is how far Q is from it.
    """
    features, latent = loadings.shape
    precision = torch.eye(latent) + loadings.T @ loadings / NOISE**2
    decoder, encoder = torch.nn.Linear(latent, features), torch.nn.Linear(features, 2 * latent)
    with torch.no_grad():
        decoder.weight.copy_(loadings)
        decoder.bias.zero_()
        encoder.weight.zero_()
        encoder.weight[:latent] = torch.linalg.solve(precision, loadings.T) / NOISE**2
        encoder.bias.zero_()
        encoder.bias[latent:] = precision.diagonal().rsqrt().expm1().log()  # undoes the softplus
    return ppvae.VAE(
        prior=priors.StandardNormal(latent),
        likelihood=likelihoods.Normal(decoder, scale=NOISE),
        posterior=posteriors.DiagonalNormal(encoder),
    )


@torch.no_grad()
def closed_forms(pair: ppvae.VAE, loadings: Tensor, x: Tensor) -> dict[str, Tensor]:
    """Return every term of (2) for the linear pair, by formulas alone, `(data,)` each."""
    features, latent = loadings.shape
    given = pair.encode(x).base_dist
    guide = MultivariateNormal(given.loc, scale_tril=torch.diag_embed(given.scale))
    truth = MultivariateNormal(
        given.loc, precision_matrix=torch.eye(latent) + loadings.T @ loadings / NOISE**2
    )
    prior = MultivariateNormal(torch.zeros(latent), torch.eye(latent))
    marginal = MultivariateNormal(
        torch.zeros(features), loadings @ loadings.T + NOISE**2 * torch.eye(features)
    )
    # The mean of a squared distance: that of the mean, and the spread of W z.
    squared = (x - given.loc @ loadings.T).square().sum(-1)
    squared = squared + (loadings.square() * given.scale[:, None].square()).sum((-1, -2))
    kl, posterior_kl = kl_divergence(guide, prior), kl_divergence(guide, truth)
    reconstruction = -squared / (2 * NOISE**2) - features * math.log(
        NOISE * math.sqrt(2 * math.pi)
    )
    return {
        "log_evidence": marginal.log_prob(x),
        "posterior_kl": posterior_kl,
        "reconstruction": reconstruction,
        "kl": kl,
    }


def against_closed_forms(rows: int, draws: int) -> dict[str, tuple[float, Estimate]]:
    """Return every term of (2) for a linear pair: its closed form, and what is measured."""
    loadings = torch.tensor([[1.0, 0.5], [0.5, 1.0], [0.0, 0.7]])
    pair = linear_pair(loadings)
    x = torch.randn(rows, 2) @ loadings.T + NOISE * torch.randn(rows, 3)
    summary = diagnostics.summarize(diagnostics.evidence(pair, x, draws=draws))
    both = {}
    for name, known in closed_forms(pair, loadings, x).items():
        row = summary.sel(term=name)
        measured = Estimate(float(row["mean"]), float(row["monte_carlo_error"]))
        both[name] = known.mean().item(), measured
    return both


def show(folder: Path, size: float) -> dict[str, dict]:
    """Measure both sides on the pair of step 6, then every term where formulas are known."""
    page.begin(7, __doc__)
    pair, x = fitted(page.share(3000, size, 200)), segments().test[: page.share(50, size, 10)]
    torch.manual_seed(0)
    draws = page.share(2000, size, 200)
    sides = both_sides(pair, x, draws)
    page.table(
        ("the pair of step 6, nats a datapoint", ""),
        ("log P(X), integral over z", exact(sides["log_evidence"])),
        ("KL[Q(z|X) || P(z|X)], integral over z", exact(sides["posterior_kl"])),
        ("left side", exact(sides["left"])),
        ("right side, draws from Q", sides["right"]),
        ("right side, diagnostics.evidence", sides["library"]),
    )
    page.say(
        """And on a linear pair, z ~ N(0, I) and X ~ N(W z, noise^2 I), where every term has a
        closed form, against diagnostics.evidence:"""
    )
    linear = against_closed_forms(page.share(200, size, 50), draws)
    names = {
        "log_evidence": "log P(X)",
        "posterior_kl": "KL[Q(z|X) || P(z|X)]",
        "reconstruction": "E_Q[log P(X|z)]",
        "kl": "KL[Q(z|X) || P(z)]",
    }
    closed = {name: known for name, (known, _) in linear.items()}
    page.table(
        ("the linear pair, nats a datapoint", "closed form", "measured"),
        *((line, f"{closed[name]:.4f}", linear[name][1]) for name, line in names.items()),
        ("left side", f"{closed['log_evidence'] - closed['posterior_kl']:.4f}", ""),
        ("right side", f"{closed['reconstruction'] - closed['kl']:.4f}", ""),
    )
    page.say(
        """The errors are those of the draws, which all four terms share. One comparison in twenty
        lies beyond two errors, one in sixteen thousand beyond four."""
    )
    return {"fitted": sides, "linear": linear}
