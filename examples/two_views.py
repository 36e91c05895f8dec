"""Complete handwritten digits of which one half is known."""

import argparse
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


def root_mean_square(errors: Tensor) -> float:
    """Return the size of errors."""
    return float(errors.square().mean().sqrt())


def main(epochs: int = 40, draws: int = 50, output: str = ".") -> None:
    """Train on every subset of the halves, print errors, write `two_views.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    views = data.halves(digits)
    pair = pairs.MultimodalVAE.of(views, latent=8)
    ppvae.fit(pair, data.every_subset(*views.batch("train")), epochs=epochs)
    upper, lower = views.batch("test")
    mean = pair.decode(pair.encode([upper, None]).sample((draws,)))[1].mean.mean(0)
    average = views.batch("train")[1].mean(0)
    print("root mean square error of a pixel of the lower halves of held-out digits")
    print(f"  guessed as the mean of all    {root_mean_square(lower - average):.2f}")
    print(f"  guessed given the upper half  {root_mean_square(lower - mean):.2f}")
    Path(output).mkdir(parents=True, exist_ok=True)
    figure = completed(pair, upper[:12], digits.image_shape or (8, 8))
    figure.savefig(Path(output) / "two_views.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--draws", type=int, default=50)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
