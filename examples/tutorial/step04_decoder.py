"""A decoder with normal noise.

What z does not decide is many small disturbances, and by the central limit theorem their sum is
normal. So the decoder is a function f and a noise:

    P(X|z; theta) = N(X; f(z; theta), noise^2 I)

where f is a neural network with weights theta. If somebody tells us z along with X, learning
theta is ordinary curve fitting: the logarithm of this normal is a squared distance. The data are
the colors of a screen, whose red is exp(-|z| / 2), seen with noise 0.1.
"""

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from ppvae import data, likelihoods, networks

from . import page

NOISE = 0.1


def screens(rows: int) -> tuple[Tensor, Tensor]:
    """Return the hidden factor and the red of screens, `(rows, 1)` each."""
    colors = data.colors(rows, noise=NOISE)
    return colors.factors["train"], colors.train[:, :1]


def learn(z: Tensor, x: Tensor, steps: int) -> likelihoods.Normal:
    """Maximize the mean of log P(X|z; theta) with z known."""
    decoder = likelihoods.Normal(networks.MLP(1, 1, hidden=[32, 32]), scale=NOISE)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    for _ in range(steps):
        loss = -decoder(z).log_prob(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return decoder


@torch.no_grad()
def scores(decoder: likelihoods.Normal, z: Tensor, x: Tensor) -> dict[str, float]:
    """Score the data by the library, by the squared distance, and by the truth."""
    loc = decoder(z).mean
    squared = -((x - loc) ** 2) / (2 * NOISE**2) - math.log(NOISE * math.sqrt(2 * math.pi))
    truth = likelihoods.Normal(torch.nn.Identity(), scale=NOISE)(data.redness(z))
    return {
        "log_prob": decoder(z).log_prob(x).mean().item(),
        "squared": squared.mean().item(),
        "truth": truth.log_prob(x).mean().item(),
    }


@torch.no_grad()
def repeated(decoder: likelihoods.Normal, z: float, draws: int) -> dict[str, float]:
    """Draw X again and again for one z: the mean is f(z), the spread is the noise."""
    given = decoder(torch.full((draws, 1), z))
    x = given.sample()
    return {"f": given.mean[0].item(), "mean": x.mean().item(), "spread": x.std().item()}


def show(folder: Path, size: float) -> dict[str, dict[str, float]]:
    """Learn f from known z, score it, and draw from it."""
    page.begin(4, __doc__)
    torch.manual_seed(0)
    z, x = screens(page.share(2000, size, 500))
    decoder = learn(z, x, page.share(400, size, 50))
    scored = scores(decoder, z, x)
    page.table(
        ("log P(X|z), nats a datapoint", "mean"),
        ("the library's log_prob", f"{scored['log_prob']:.4f}"),
        ("-(X - f(z))^2 / (2 noise^2) - log(noise sqrt(2 pi))", f"{scored['squared']:.4f}"),
        ("with the true f", f"{scored['truth']:.4f}"),
    )
    again = {value: repeated(decoder, value, 10_000) for value in (-2.0, 0.0, 2.0)}
    page.table(
        ("X drawn 10,000 times for one z", "f(z)", "mean of X", "spread of X"),
        *(
            (f"z = {value:+.0f}", *(f"{number:.4f}" for number in numbers.values()))
            for value, numbers in again.items()
        ),
    )
    page.say(
        """But z is not known. And without noise, P(X|z) would be 0 for every X that f does
        not match exactly: there would be no gradient to follow."""
    )
    page.draw(decoder_figure(decoder, z, x), folder, "04-decoder")
    return {"scores": scored} | {f"z = {value:+.0f}": again[value] for value in again}


@torch.no_grad()
def decoder_figure(decoder: likelihoods.Normal, z: Tensor, x: Tensor) -> Figure:
    """Draw the data, the learned f with its noise, and the true f."""
    figure, (axes,) = page.panels(1)
    line = torch.linspace(-3.5, 3.5, 200)[:, None]
    loc = decoder(line).mean[:, 0]
    axes.plot(z.tolist(), x.tolist(), ".", color="0.6", markersize=2, label="data, z known")
    band = (loc - 2 * NOISE).tolist(), (loc + 2 * NOISE).tolist()
    flat = line[:, 0].tolist()
    axes.fill_between(flat, *band, color="0.85", label="f(z) +- 2 noise", zorder=0)
    axes.plot(flat, loc.tolist(), "k", label="f(z; theta), learned")
    axes.plot(flat, data.redness(line)[:, 0].tolist(), "k--", label="true f(z) = exp(-|z| / 2)")
    axes.set_title("A decoder with normal noise, learned where z is known")
    axes.set_xlabel("hidden factor z")
    axes.set_ylabel("red of the screen, 0 to 1")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
