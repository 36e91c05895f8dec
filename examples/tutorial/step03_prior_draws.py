"""Maximizing formula (1) directly, and why that fails.

To learn theta one could estimate P(X) by draws from p(z), as above, and follow its gradient. With
one latent this works. With many, almost no draw from p(z) comes near the few z that explain a
given X: the average is determined by the one draw that happens to be nearest, and theta adapts to
that draw.

The model here is X = s z + noise, with as many features as latents, so that everything is known:

    X ~ N(0, (s^2 + noise^2) I),    best s^2 = mean(X^2) - noise^2
"""

import math
from pathlib import Path

import pyro.distributions as dist
import torch
from matplotlib.figure import Figure
from torch import Tensor

from . import page

NOISE = 0.5
SCALE = 1.0
LATENTS = (1, 2, 4, 8, 16, 32)


def generate(rows: int, latent: int) -> Tensor:
    """Make data from the true model."""
    return SCALE * torch.randn(rows, latent) + NOISE * torch.randn(rows, latent)


def log_likelihoods(x: Tensor, draws: int, scale: Tensor) -> Tensor:
    """Return log P(X|z) for draws of z from the prior, `(draw, data)`."""
    z = torch.randn(draws, 1, x.shape[1])
    return dist.Normal(scale * z, NOISE).log_prob(x).sum(-1)


def log_evidence(values: Tensor) -> Tensor:
    """Average P(X|z) over the draws, in logarithms: log mean exp."""
    return values.logsumexp(0) - math.log(len(values))


def quality(latent: int, draws: int, rows: int = 40) -> dict[str, float]:
    """Compare the estimate of log P(X) by prior draws with its exact value, at the true s.

    The effective number of draws is (sum w)^2 / sum(w^2) of the weights w = P(X|z): 1 if a single
    draw has all the weight.
    """
    x = generate(rows, latent)
    values = log_likelihoods(x, draws, torch.tensor(SCALE))
    exact = dist.Normal(0.0, math.hypot(SCALE, NOISE)).log_prob(x).sum(-1)
    error = log_evidence(values) - exact
    return {
        "error": error.mean().item(),
        "spread": error.std().item(),
        "effective": (1 / values.softmax(0).square().sum(0)).mean().item(),
    }


def learned_scale(latent: int, draws: int, steps: int, rows: int = 100) -> tuple[float, float]:
    """Maximize the estimated log P(X), starting at the true s; return the final and the best s."""
    x = generate(rows, latent)
    log_scale = torch.tensor(math.log(SCALE), requires_grad=True)
    optimizer = torch.optim.Adam([log_scale], lr=0.05)
    for _ in range(steps):
        loss = -log_evidence(log_likelihoods(x, draws, log_scale.exp())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return log_scale.exp().item(), (x.square().mean() - NOISE**2).sqrt().item()


def show(folder: Path, size: float) -> dict[int, dict[str, float]]:
    """Measure the estimate, and the theta it leads to, against the latent dimension."""
    page.begin(3, __doc__)
    torch.manual_seed(0)
    draws, fitting = page.share(10_000, size, 1000), page.share(500, size, 100)
    steps = page.share(100, size, 10)
    measured = {latent: quality(latent, draws) for latent in LATENTS}
    for latent in LATENTS:
        values = measured[latent]
        values["learned"], values["best"] = learned_scale(latent, fitting, steps)
    page.table(
        ("latents", "error of log P(X)", "its spread", "effective draws", "learned s", "best s"),
        *(
            (
                latent,
                f"{values['error']:.3f}",
                f"{values['spread']:.3f}",
                f"{values['effective']:.1f}",
                f"{values['learned']:.2f}",
                f"{values['best']:.2f}",
            )
            for latent, values in measured.items()
        ),
    )
    page.say(
        f"""Errors in nats a datapoint, with {draws:,} draws for every X; s was learned with
        {fitting:,}. The solution is to draw z only where it can have made X. That needs a second
        distribution, Q(z|X): steps 6 and 7."""
    )
    page.draw(failure_figure(measured, draws), folder, "03-prior-draws")
    return measured


def failure_figure(measured: dict[int, dict[str, float]], draws: int) -> Figure:
    """Draw error, effective draws and learned theta against the number of latents."""
    figure, axes = page.panels(3)
    latents = list(measured)
    for panel, name, title, unit in (
        (axes[0], "error", "The estimate of log P(X) falls short", "error, nats a datapoint"),
        (axes[1], "effective", f"Few of {draws:,} draws have weight", "effective number of draws"),
        (axes[2], "learned", "Theta adapts to those few", "s"),
    ):
        values = [measured[latent][name] for latent in latents]
        panel.plot(latents, values, "o-", color="black", label="by draws from p(z)")
        panel.set_xscale("log", base=2)
        panel.set_xticks(latents, [str(latent) for latent in latents])
        panel.set_title(title)
        panel.set_xlabel("number of latents")
        panel.set_ylabel(unit)
    axes[0].axhline(0, color="0.5", linestyle="--", label="exact")
    axes[1].set_yscale("log")
    best = [measured[latent]["best"] for latent in latents]
    axes[2].plot(latents, best, "s--", color="0.5", label="maximum likelihood")
    axes[2].set_ylim(bottom=0)
    axes[0].legend(frameon=False)
    axes[2].legend(frameon=False)
    return figure
