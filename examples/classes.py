"""Draw handwritten digits of each class, and write the digits of one hand as all others."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

import ppvae
from ppvae import data, pairs, priors
from ppvae.reports import plots


def drawn(pair: pairs.ConditionalVAE, columns: int = 12) -> dict[str, Tensor]:
    """Return samples of each class."""
    return {str(digit): pair.sample(columns, digit) for digit in range(10)}


def translated(pair: pairs.ConditionalVAE, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return each image, and then what it would be as each of the classes."""
    every = [pair.translate(x, y, digit) for digit in range(10)]
    rows = torch.stack([x, *every], 1)
    return {f"a {int(label)}": row for label, row in zip(y, rows, strict=True)}


def main(epochs: int = 100, output: str = ".") -> None:
    """Train a pair that is told the class, and write `samples.png` and `translations.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    pair = pairs.ConditionalVAE.of(digits, latent=8, prior=priors.StandardNormal)
    ppvae.fit(pair, pair.batches_of(digits), epochs=epochs)
    labels = digits.labels["test"]
    one_of_each = torch.tensor([int((labels == digit).nonzero()[0]) for digit in range(10)])
    x, y = digits.test[one_of_each], labels[one_of_each]
    torch.manual_seed(0)
    figures = {
        "samples": (drawn(pair), "Samples of each class"),
        "translations": (
            translated(pair, x, y),
            "A held-out image, and its hand's digits from 0 to 9",
        ),
    }
    Path(output).mkdir(parents=True, exist_ok=True)
    for name, (rows, title) in figures.items():
        figure = plots.image_rows(rows, (8, 8), title, limits=(0, 16), inverted=True)
        figure.savefig(Path(output) / f"{name}.png", dpi=150)
        plt.close(figure)
    table = ppvae.diagnostics.evidence(pair, pair.batches_of(digits).batch("test"), draws=100)
    print(f"log P(X|y) of held-out images: {float(table.log_evidence.mean()):.1f} nats")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--output", default=".", help="folder of the figures")
    main(**vars(parser.parse_args()))
