"""The three distributions Q, and what they approach.

Q(z|X) is our guess which z made X: the encoder. Three distributions follow from it, and each has
a counterpart that follows from the model alone:

    Q(z|X)                                 approaches   P(z|X)
    Q(z) = mean of Q(z|X) over the data    approaches   P(z) = N(0, I)
    Q(X|z) = the data that Q puts at z     approaches   P(X|z)

A small pair learns noisy drawings of segments of any length. It has one latent, so P(X) and
P(z|X) can be had without any draws, by an integral over a fine grid of z.
"""

import functools
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors
from ppvae.reports import plots

from . import page
from .measures import over_latent

PIXELS = 12
PLACES = (-1.5, -0.5, 0.5, 1.5)


@functools.cache
def segments() -> data.Dataset:
    """Return noisy drawings of segments of any length."""
    return data.segments(20_000, jitter=0.1, noise=0.4, size=PIXELS)


@functools.cache
def fitted(steps: int) -> ppvae.VAE:
    """Return a pair with one latent after some steps of training; none leaves it as it starts."""
    torch.manual_seed(0)
    pair = ppvae.VAE(
        prior=priors.StandardNormal(1),
        likelihood=likelihoods.Normal(
            networks.MLP(1, PIXELS**2, hidden=[32, 32], activation=torch.nn.Tanh),
            scale=likelihoods.LearnedScale(),
        ),
        posterior=posteriors.DiagonalNormal(networks.MLP(PIXELS**2, 2, hidden=[64, 64])),
    )
    if steps:
        optimizer = functools.partial(torch.optim.Adam, lr=3e-3)
        ppvae.fit(pair, segments().train, steps=steps, optimizer=optimizer, progress=False)
    return pair


@torch.no_grad()
def aggregate(pair: ppvae.VAE, x: Tensor) -> dict[str, float]:
    """Draw from Q(z), one z for every datapoint; measure its moments and its KL to N(0, 1)."""
    guide = pair.encode(x)
    z = guide.sample()
    # Every z is scored under the Q(z|X) of every datapoint, and the average is Q(z).
    log_aggregate = guide.log_prob(z[:, None]).logsumexp(1) - math.log(len(x))
    log_prior = pair.prior().log_prob(z)
    return {
        "mean": z.mean().item(),
        "spread": z.std().item(),
        "kl": (log_aggregate - log_prior).mean().item(),
    }


@torch.no_grad()
def images_at(pair: ppvae.VAE, x: Tensor, z: float) -> tuple[Tensor, Tensor, float]:
    """Return the mean image of Q(X|z), that of P(X|z), and the distance between them a pixel.

    By Bayes' rule Q(X|z) = Q(z|X) Q(X) / Q(z), Q(X) being the data: every datapoint weighs as
    much as its Q(z|X) is dense at this z.
    """
    weights = pair.encode(x).log_prob(torch.tensor([z])).softmax(0)
    guide, model = weights @ x, pair.decode(torch.tensor([z])).mean
    return guide, model, (guide - model).square().mean().sqrt().item()


def compare(pair: ppvae.VAE, x: Tensor, held_out: Tensor, draws: int) -> dict[str, float]:
    """Measure how near the three Q are to what they approach."""
    grid = over_latent(pair, held_out)
    terms = diagnostics.evidence(pair, held_out, draws=draws)
    whole = aggregate(pair, x)
    return {
        "log_evidence": grid.log_evidence.mean().item(),
        "kl": terms.kl.mean().item(),
        "posterior_kl": terms.posterior_kl.mean().item(),
        "posterior_kl_exact": grid.posterior_kl(pair, held_out).mean().item(),
        "aggregate_mean": whole["mean"],
        "aggregate_spread": whole["spread"],
        "aggregate_kl": whole["kl"],
        "distance": sum(images_at(pair, x, place)[2] for place in PLACES) / len(PLACES),
    }


def show(folder: Path, size: float) -> dict[int, dict[str, float]]:
    """Compare the three Q with what they approach, in the course of training."""
    page.begin(6, __doc__)
    full = page.share(3000, size, 200)
    x, held_out = segments().train[:4000], segments().test[: page.share(100, size, 20)]
    draws = page.share(1000, size, 100)
    stages = (0, 100, full)
    measured = {}
    for steps in stages:
        pair = fitted(steps)
        torch.manual_seed(0)
        measured[steps] = compare(pair, x, held_out, draws)
    lines = {
        "log P(X)": "log_evidence",
        "KL[Q(z|X) || P(z|X)], by draws": "posterior_kl",
        "KL[Q(z|X) || P(z|X)], by the grid": "posterior_kl_exact",
        "KL[Q(z|X) || P(z)]": "kl",
        "KL[Q(z) || P(z)]": "aggregate_kl",
        "mean of Q(z)": "aggregate_mean",
        "spread of Q(z)": "aggregate_spread",
        "Q(X|z) to P(X|z), a pixel": "distance",
    }
    page.table(
        ("steps of training", *map(str, stages)),
        *(
            (line, *(f"{measured[steps][name]:.4f}" for steps in stages))
            for line, name in lines.items()
        ),
    )
    page.say(
        """In nats a held-out datapoint; Q(z) and Q(X|z) are of the training data. At the start
        z means nothing, and P(z|X), Q(z) and N(0, 1) are easily alike: what training raises is
        log P(X), and the three Q follow. KL[Q(z|X) || P(z)] does NOT go to 0, and must not: it
        is what z tells about X. Only its average over the data, Q(z), comes near P(z). The KL by
        draws comes out a little low: draws from Q rarely go where Q is too thin."""
    )
    page.draw(image_figure(fitted(full), x), folder, "06-images")
    page.draw(posterior_figure(fitted(full), x, held_out), folder, "06-posteriors")
    return measured


def image_figure(pair: ppvae.VAE, x: Tensor) -> Figure:
    """Draw the mean images of Q(X|z) and P(X|z) along z."""
    places = torch.linspace(-2, 2, 9).tolist()
    images = [images_at(pair, x, place) for place in places]
    rows = {
        "Q(X|z)": torch.stack([guide for guide, _, _ in images]),
        "P(X|z)": torch.stack([model for _, model, _ in images]),
    }
    return plots.image_rows(rows, (PIXELS, PIXELS), "Mean images for z from -2 to 2")


@torch.no_grad()
def posterior_figure(pair: ppvae.VAE, x: Tensor, held_out: Tensor) -> Figure:
    """Draw Q(z|X) against P(z|X) for four datapoints, and Q(z) against N(0, 1)."""
    figure, axes = page.panels(2)
    order = pair.encode(held_out).mean[:, 0].argsort()
    few = held_out[order[torch.linspace(0, len(order) - 1, 4).long()]]  # all over z
    grid = over_latent(pair, few)
    guides = pair.encode(few).log_prob(grid.z[:, None, None]).exp()
    for row in range(len(few)):
        exact, guessed = ("P(z|X)", "Q(z|X)") if row == 0 else (None, None)
        axes[0].plot(grid.z, grid.posterior[:, row], color="0.7", linewidth=4, label=exact)
        axes[0].plot(grid.z, guides[:, row], "k--", linewidth=1.2, label=guessed)
    axes[0].set_title("Four datapoints: the guess and the truth")
    normal = torch.exp(-(grid.z**2) / 2) / math.sqrt(2 * math.pi)
    z = pair.encode(x).sample()[:, 0].tolist()
    axes[1].hist(z, bins=50, range=(-4, 4), density=True, color="0.75", label="Q(z)")
    axes[1].plot(grid.z, normal, "k", label="P(z) = N(0, 1)")
    axes[1].set_title("All datapoints together")
    for panel in axes:
        panel.set(xlabel="z", ylabel="density", xlim=(-4, 4))
        panel.legend(frameon=False)
    return figure
