"""Complete handwritten digits of which one half is known."""

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
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


def main(epochs: int = 40, output: str = ".") -> None:
    """Train on every subset of the halves, print how digits are read, write `two_views.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    views = data.halves(digits)
    pair = pairs.MultimodalVAE.of(views, latent=8)
    ppvae.fit(pair, data.every_subset(*views.batch("train")), epochs=epochs)
    upper, lower = views.batch("test")
    judge = LogisticRegression(max_iter=1000).fit(digits.train, digits.labels["train"])
    unrelated = pair.sample(len(upper))[1]
    print("share of held-out digits that a classifier of whole images takes for the right one")
    for name, half in (
        ("whole", lower),
        ("upper half, completed", pair.translate([upper, None])[1]),
        ("upper half, below it one of any digit", unrelated),
    ):
        score = judge.score(torch.cat([upper, half], 1), digits.labels["test"])
        print(f"  {name:38s}{score:.3f}")
    Path(output).mkdir(parents=True, exist_ok=True)
    figure = completed(pair, upper[:12], digits.image_shape or (8, 8))
    figure.savefig(Path(output) / "two_views.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
