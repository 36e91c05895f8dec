"""Find clusters of handwritten digits without labels, and draw samples of each."""

import argparse
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

import ppvae
from ppvae import data, pairs


def table(pair: pairs.MixtureVAE, digits: data.Dataset) -> pd.DataFrame:
    """Return how many training images of each digit are in each cluster."""
    cluster = pair.cluster(digits.train).argmax(1)
    counts = pd.crosstab(cluster.numpy(), digits.labels["train"].numpy())
    every = range(pair.components)
    return counts.reindex(every, fill_value=0).rename_axis(index="cluster", columns="digit")


def drawn(pair: pairs.MixtureVAE, digits: data.Dataset, columns: int = 12) -> Figure:
    """Return a figure with a row of samples for each component, its weight beside it."""
    height, width = digits.image_shape or (8, 8)
    weights = pair.logits.softmax(0).tolist()
    figure = Figure(figsize=(0.43 * columns + 0.8, 0.5 * len(weights) + 0.3), layout="constrained")
    axes = figure.subplots(len(weights), squeeze=False)[:, 0]
    for k, (axis, weight) in enumerate(zip(axes, weights, strict=True)):
        torch.manual_seed(k)
        images = pair.sample(columns, k=k).reshape(columns, height, width)
        axis.imshow(torch.cat(list(images), 1).numpy(), cmap="gray_r")
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        axis.set_ylabel(f"{k}:  {weight:.0%}", rotation=0, ha="right", va="center")
    figure.suptitle("Samples of each component, and its weight", fontsize=10)
    return figure


def main(epochs: int = 100, output: str = ".") -> None:
    """Train a plain VAE, start the mixture at its latents, train on, and write `clusters.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    plain = pairs.assemble(digits, latent=8)
    ppvae.fit(plain, digits, epochs=epochs)
    pair = pairs.mixture_from(plain, digits, components=10)
    ppvae.fit(pair, digits, epochs=epochs)
    counts = table(pair, digits)
    print(counts)
    share = counts.to_numpy().max(1).sum() / counts.to_numpy().sum()
    print(f"{share:.1%} of the images show the digit that their cluster holds most of")
    Path(output).mkdir(parents=True, exist_ok=True)
    drawn(pair, digits).savefig(Path(output) / "clusters.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
