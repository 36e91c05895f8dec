"""Classify handwritten digits of which few have a label, with and without the others."""

import argparse
import functools
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import ppvae
from ppvae import data
from ppvae.networks import ResidualMLP
from ppvae.pairs import SemiSupervisedVAE

ROWS = 128  # of a minibatch


def batches(x: torch.Tensor, y: torch.Tensor, share: float) -> DataLoader:
    """Return minibatches of which a share has a label, however few do in all."""
    known = y >= 0
    weights = torch.where(known, share / known.sum(), (1 - share) / (~known).sum())
    sampler = WeightedRandomSampler(weights.tolist(), len(y))
    return DataLoader(TensorDataset(x, y), batch_size=ROWS, sampler=sampler, drop_last=True)


def network(inputs: int, outputs: int) -> nn.Module:
    """Return a small network; encoder, decoder and classifier are such."""
    return ResidualMLP(inputs, outputs, width=128, depth=1)


def semi_supervised(digits: data.Dataset, epochs: int) -> SemiSupervisedVAE:
    """Train on all images, and the labels that are known."""
    torch.manual_seed(0)
    pair = SemiSupervisedVAE.of(digits, latent=2, network=network, weight=20.0)
    ppvae.fit(
        pair,
        batches(*digits.batch("train"), share=0.3),
        epochs=epochs,
        optimizer=functools.partial(torch.optim.Adam, lr=3e-3),
        schedule=functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs),
        progress=False,
    )
    return pair


def supervised(digits: data.Dataset, steps: int) -> nn.Module:
    """Train the same classifier on the images with a label alone."""
    torch.manual_seed(0)
    classifier = SemiSupervisedVAE.of(digits, network=network).classifier
    x, y = digits.batch("train")
    x, y = x[y >= 0], y[y >= 0]
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(classifier(x), y).backward()
        optimizer.step()
    return classifier


def drawn(scores: pd.DataFrame) -> Figure:
    """Return a figure of the accuracies by number of labels."""
    figure = plt.figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, marker in zip(scores, "os", strict=True):
        axes.plot(scores.index, 100 * scores[name], marker=marker, label=name)
    axes.set(xscale="log", xticks=scores.index, xlabel="training images with a label")
    axes.set_xticks([], minor=True)
    axes.set_xticklabels(map(str, scores.index))
    axes.set(ylabel="test images classified rightly, %", title="A classifier with few labels")
    axes.legend()
    return figure


def main(epochs: int = 60, labels: tuple[int, ...] = (20, 40, 80, 160), output: str = ".") -> None:
    """Print the accuracies, and write `semi_supervised.png`."""
    digits = data.digits()
    x, truth = digits.test, digits.labels["test"]
    rows = {}
    for known in labels:
        few = digits.labeled(known=known)
        guesses = {
            "labels alone": supervised(few, steps=300)(x),
            "labels and all images": semi_supervised(few, epochs).classify(x),
        }
        right = {name: guess.argmax(1) == truth for name, guess in guesses.items()}
        rows[known] = {name: float(each.double().mean()) for name, each in right.items()}
    scores = pd.DataFrame.from_dict(rows, orient="index").rename_axis("labels")
    print(scores.to_string(float_format="{:.1%}".format))
    Path(output).mkdir(parents=True, exist_ok=True)
    figure = drawn(scores)
    figure.savefig(Path(output) / "semi_supervised.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
