"""Complete handwritten digits of which one half is known."""

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

import ppvae
from ppvae import data, pairs


def completed(pair: pairs.MultimodalVAE, upper: Tensor, shape: tuple[int, int]) -> Figure:
    """Return a figure: upper halves alone in its first row, completed in four ways below."""
    height, width = shape
    torch.manual_seed(0)
    drawn = [torch.cat([upper, pair.translate([upper, None])[1]], 1) for _ in range(4)]
    hidden = torch.cat([upper, torch.full_like(upper, torch.nan)], 1)
    figure = Figure(figsize=(0.62 * len(upper) + 0.9, 3.4), layout="constrained")
    axes = figure.subplots(5, squeeze=False)[:, 0]
    names = ["given", *(f"draw {number}" for number in range(1, 5))]
    for axis, name, images in zip(axes, names, [hidden, *drawn], strict=True):
        joined = torch.cat(list(images.reshape(-1, height, width)), 1)
        axis.imshow(joined.numpy(), cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(name, rotation=0, ha="right", va="center")
    figure.suptitle("Lower halves of held-out digits, drawn given the upper half", fontsize=10)
    return figure


def log_density(pair: pairs.MultimodalVAE, lower: Tensor, z: Tensor) -> float:
    """Return the mean over lower halves of the log of their mean density at draws of z."""
    densities = pair.decode(z)[1].log_prob(lower)
    return float((densities.logsumexp(0) - math.log(len(z))).mean())


def main(epochs: int = 40, draws: int = 500, output: str = ".") -> None:
    """Train on every subset of the halves, print log densities, write `two_views.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    views = data.halves(digits)
    pair = pairs.MultimodalVAE.of(views, latent=8)
    ppvae.fit(pair, data.every_subset(*views.batch("train")), epochs=epochs)
    upper, lower = views.batch("test")
    given = pair.encode([upper, None]).sample((draws,))
    print("log density of the lower halves of held-out digits, nats")
    print(f"  not knowing the upper one  {log_density(pair, lower, torch.randn_like(given)):7.1f}")
    print(f"  given the upper one        {log_density(pair, lower, given):7.1f}")
    Path(output).mkdir(parents=True, exist_ok=True)
    figure = completed(pair, upper[:12], digits.image_shape or (8, 8))
    figure.savefig(Path(output) / "two_views.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
