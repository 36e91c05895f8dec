"""Ten latents where there are four factors.

How many latents should z have? Too many do little harm: latents that are not needed stay unused.
Here four factors make twelve features, linearly and with noise, and the pair has ten latents. A
latent costs KL[Q(z|X) || P(z)], and is worth that only if it explains more than noise. For a
linear pair it is known exactly when. Let v_1, v_2, ... be the variances of the data along their
principal components, from the largest. The best pair uses one latent for each

    v_j > noise^2,    where it pays    KL_j = log(v_j / noise^2) / 2    nats

and for the other latents Q(z_j|X) = N(0, 1): they are collapsed (Lucas, Tucker, Grosse and
Norouzi, "Don't Blame the ELBO!", 2019; probabilistic PCA, Tipping and Bishop, 1999).
"""

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

import ppvae
from ppvae import diagnostics, likelihoods, posteriors, priors
from ppvae.reports import plots

from . import page

FACTORS, LATENTS, FEATURES = 4, 10, 12
STRENGTHS = torch.tensor([3.0, 2.2, 1.6, 1.2])
NOISE = 0.5  # of the data
# Of the decoder: a little more, since in finite data the noise is larger in some directions.
ALLOWED = 0.6


def generate(rows: int) -> Tensor:
    """Mix four factors into twelve features, along directions at right angles, and add noise."""
    directions = torch.linalg.qr(torch.randn(FEATURES, FACTORS)).Q
    factors = torch.randn(rows, FACTORS) * STRENGTHS
    return factors @ directions.T + NOISE * torch.randn(rows, FEATURES)


def predicted(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the variances along the principal components, and the KL that each is worth."""
    variances = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    return variances, (variances / ALLOWED**2).log().clamp(min=0) / 2


def fit_linear(x: Tensor, steps: int) -> ppvae.VAE:
    """Fit a linear pair with ten latents and fixed noise to all rows at once."""
    pair = ppvae.VAE(
        prior=priors.StandardNormal(LATENTS),
        likelihood=likelihoods.Normal(nn.Linear(LATENTS, FEATURES), scale=ALLOWED),
        posterior=posteriors.DiagonalNormal(nn.Linear(FEATURES, 2 * LATENTS)),
    )
    ppvae.fit(
        pair,
        x,
        steps=steps,
        batch_size=len(x),
        optimizer=functools.partial(torch.optim.Adam, lr=0.03),
        schedule=functools.partial(CosineAnnealingLR, T_max=steps),
        progress=False,
    )
    return pair


def show(folder: Path, size: float) -> dict[str, object]:
    """Fit, and compare the KL of every latent with what the principal components predict."""
    page.begin(11, __doc__)
    torch.manual_seed(0)
    x = generate(1000)
    pair = fit_linear(x, page.share(3000, size, 300))
    variances, worth = predicted(x)
    kl = diagnostics.kl_per_dimension(pair, x)
    measured = np.sort(kl.values)[::-1]
    active = diagnostics.active_units(pair, x)
    page.table(
        ("component", "variance v", f"v / {ALLOWED}^2", "KL predicted", "KL of a latent"),
        *(
            (
                position + 1,
                f"{variances[position]:.3f}",
                f"{variances[position] / ALLOWED**2:.2f}",
                f"{worth[position]:.4f}" if position < LATENTS else "",
                f"{measured[position]:.4f}" if position < LATENTS else "no latent",
            )
            for position in range(FEATURES)
        ),
    )
    page.say(
        f"""Of {LATENTS} latents {active.count} are active, as many as there are factors, and
        {LATENTS - active.count} are collapsed: their Q(z|X) is N(0, 1) for every X, and the
        decoder ignores them."""
    )
    figure = plots.kl_bars(kl)
    marks = worth[:LATENTS].tolist()
    figure.axes[0].plot(marks, "kx", label="predicted: log(v / noise$^2$) / 2", clip_on=False)
    figure.axes[0].legend(frameon=False)
    page.draw(figure, folder, "11-unused-latents")
    return {
        "active": active.count,
        "kl": measured,
        "predicted": worth[:LATENTS].numpy(),
        "above": int((variances > ALLOWED**2).sum()),
    }
