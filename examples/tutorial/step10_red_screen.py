"""The red screen: a posterior with two modes, and a guide that has one.

A screen shows pure red at z = 0 and a deeper red the larger |z| is: red = exp(-|z|/2), seen with
noise 0.02, z ~ N(0, 1). The color tells |z| but not its sign, so P(z|X) has two equal modes. Here
the model is known and fixed, and only the guide is fitted: a normal, which has one mode. By
maximizing (2), it fits one of the two modes and misses the other: it covers one half of P(z|X)
instead of all of it, so

    KL[Q(z|X) || P(z|X)] = about log 2 = 0.693 nats

and the right side of (2) stays that much below log P(X), however long it is maximized.
"""

import functools
import math
from pathlib import Path

import pyro.distributions as dist
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors

from . import page
from .measures import over_latent

NOISE = 0.02


class Screen(nn.Module):
    """The true decoder: red, green and blue of a screen, `(*, 1)` to `(*, 3)`."""

    def forward(self, z: Tensor) -> Tensor:
        """Return red = exp(-|z| / 2), no green and no blue."""
        red = data.redness(z)
        return torch.cat([red, torch.zeros_like(red), torch.zeros_like(red)], dim=-1)


class Mirrored(posteriors.Posterior):
    """A guide with two modes: half of it is the fitted guide, half its mirror image."""

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return (Q(z|X) + Q(-z|X)) / 2."""
        fitted = self.network(*conditions).base_dist
        loc = torch.stack([fitted.loc, -fitted.loc], dim=-1)
        halves = dist.Normal(loc, fitted.scale[..., None])
        return dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), halves).to_event(1)


def screen(posterior: posteriors.Posterior) -> ppvae.VAE:
    """Return the true model with a guide; the model has nothing to learn."""
    return ppvae.VAE(
        prior=priors.StandardNormal(1),
        likelihood=likelihoods.Normal(Screen(), scale=NOISE),
        posterior=posterior,
    )


def fit_guide(steps: int) -> tuple[ppvae.VAE, Tensor]:
    """Fit a normal guide; return the pair, and held-out screens with |z| between 0.75 and 2.5."""
    colors = data.colors(10_000, noise=NOISE)
    torch.manual_seed(0)
    pair = screen(posteriors.DiagonalNormal(networks.MLP(3, 2, hidden=[32, 32])))
    ppvae.fit(
        pair,
        colors.train,
        steps=steps,
        batch_size=256,
        optimizer=functools.partial(torch.optim.Adam, lr=3e-3),
        schedule=functools.partial(CosineAnnealingLR, T_max=math.ceil(steps / 32)),
        progress=False,
    )
    depth = colors.factors["test"][:, 0].abs()
    return pair, colors.test[(depth > 0.75) & (depth < 2.5)]


def missing(pair: ppvae.VAE, x: Tensor, draws: int) -> dict[str, Tensor]:
    """Measure log P(X) and KL[Q(z|X) || P(z|X)] by draws from Q and by an integral over z."""
    terms = diagnostics.evidence(pair, x, draws=draws)
    grid = over_latent(pair, x, points=12_001)
    names = "elbo", "log_evidence", "posterior_kl", "effective_sample_size"
    measured = {name: torch.tensor(terms[name].values) for name in names}
    return measured | {
        "true_log_evidence": grid.log_evidence,
        "true_posterior_kl": grid.log_evidence - measured["elbo"],
    }


def show(folder: Path, size: float) -> dict[str, dict[str, Tensor]]:
    """Fit the guide, measure what it misses, and mirror it."""
    page.begin(10, __doc__)
    draws = page.share(1000, size, 100)
    pair, x = fit_guide(page.share(4000, size, 300))
    guides = {
        "one mode": pair,
        "two modes": screen(Mirrored(pair.posterior)),
    }
    measured = {name: missing(guide, x, draws) for name, guide in guides.items()}
    lines = {
        "E_Q[log P(X|z)] - KL[Q(z|X) || P(z)]": "elbo",
        "log P(X), draws from Q": "log_evidence",
        "log P(X), integral over z": "true_log_evidence",
        "KL[Q(z|X) || P(z|X)], draws from Q": "posterior_kl",
        "KL[Q(z|X) || P(z|X)], integral over z": "true_posterior_kl",
        f"effective number of {draws:,} draws": "effective_sample_size",
    }
    page.table(
        (f"{len(x)} held-out screens, 0.75 < |z| < 2.5", *measured),
        *(
            (line, *(f"{values[name].mean():.4f}" for values in measured.values()))
            for line, name in lines.items()
        ),
    )
    missed = measured["one mode"]["true_posterior_kl"].mean().item()
    page.say(
        f"""The integral is exact: {missed:.3f} nats are missing, log 2 = {math.log(2):.3f}
        and {missed - math.log(2):.3f} more. Draws from Q do not detect it. None of them ever falls
        on the other mode, so the estimate of log P(X) is too low by the same log 2, the KL seems
        to be almost 0, and almost all draws seem effective. Draws of a guide cannot show a region
        that the guide never visits. A guide with both modes, here the fitted one and its mirror
        image, misses nothing, and its draws and the integral agree."""
    )
    page.draw(modes_figure(guides, x, measured["one mode"]), folder, "10-red-screen")
    return measured


@torch.no_grad()
def modes_figure(guides: dict[str, ppvae.VAE], x: Tensor, values: dict[str, Tensor]) -> Figure:
    """Draw the screens, one posterior with both guides, and what is missing at each datapoint."""
    figure, axes = page.panels(3)
    line = torch.linspace(-3, 3, 301)
    axes[0].plot(line.tolist(), data.redness(line).tolist(), "k")
    seen = (x[:, 0] - 0.5).abs().argmin()
    axes[0].axhline(x[seen, 0].item(), color="0.5", linestyle="--", label="one screen X")
    axes[0].set_title("Two z for every red")
    axes[0].set(xlabel="z", ylabel="red, 0 to 1", ylim=(0, 1.25))
    grid = over_latent(guides["one mode"], x[seen : seen + 1])
    axes[1].plot(grid.z, grid.posterior[:, 0], color="0.7", linewidth=4, label="P(z|X)")
    guide = guides["one mode"].encode(x[seen]).log_prob(grid.z[:, None]).exp()
    axes[1].plot(grid.z, guide, "k--", linewidth=1.2, label="Q(z|X)")
    axes[1].set_title("The guide takes one of them")
    axes[1].set(xlabel="z", ylabel="density", xlim=(-3, 3), ylim=(0, 1.3 * guide.max().item()))
    for name, label, color in (
        ("posterior_kl", "draws from Q", "0.8"),
        ("true_posterior_kl", "integral over z", "0.35"),
    ):
        axes[2].hist(values[name].tolist(), bins=45, range=(-0.1, 1), color=color, label=label)
    axes[2].axvline(math.log(2), color="black", linestyle="--", linewidth=1, label="log 2")
    axes[2].set_title("What the guide misses")
    axes[2].set(xlabel="KL[Q(z|X) || P(z|X)], nats", ylabel="number of held-out screens")
    axes[2].set(xlim=(-0.1, 1.9), ylim=(0, 1.25 * axes[2].get_ylim()[1]))
    for panel in axes:
        panel.legend(frameon=False, loc="upper right")
    return figure
