"""Every prior with every posterior on MNIST: held-out log P(X), active units and speed."""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from torch import nn

import ppvae
from ppvae import data, diagnostics, likelihoods, networks, posteriors, priors

COMPONENTS = 200  # of NormalMixture and of VampPrior


def flow(network: nn.Module, latent: int) -> posteriors.FlowPosterior:
    """Return an inverse autoregressive posterior whose transforms depend on the datapoint."""
    return posteriors.FlowPosterior(network, latent, context=64)


PRIORS: dict[str, Callable[[int, posteriors.Posterior, torch.Tensor], priors.Prior]] = {
    "StandardNormal": lambda latent, posterior, x: priors.StandardNormal(latent),
    "NormalMixture": lambda latent, posterior, x: priors.NormalMixture(latent, COMPONENTS),
    "FlowPrior": lambda latent, posterior, x: priors.FlowPrior(latent),
    "VampPrior": lambda latent, posterior, x: priors.VampPrior(
        posterior, priors.PseudoInputs.from_data(x[:COMPONENTS], bounds=(0, 1))
    ),
}
POSTERIORS: dict[str, Callable[[nn.Module, int], posteriors.Posterior]] = {
    "DiagonalNormal": lambda network, latent: posteriors.DiagonalNormal(network),
    "LowRankNormal": lambda network, latent: posteriors.LowRankNormal(network, rank=4),
    "FlowPosterior": flow,
}


def build(prior: str, posterior: str, x: torch.Tensor, latent: int = 20) -> ppvae.VAE:
    """Return the pair of a prior and a posterior for binary images of the rows of `x`."""
    network = functools.partial(networks.ResidualMLP, width=400, depth=1)
    features = x.shape[-1]
    outputs = POSTERIORS[posterior](nn.Identity(), latent).outputs_for(latent)
    encoder = POSTERIORS[posterior](network(features, outputs), latent)
    return ppvae.VAE(
        prior=PRIORS[prior](latent, encoder, x),
        likelihood=likelihoods.Bernoulli(network(latent, features)),
        posterior=encoder,
    )


def train(pair: ppvae.VAE, digits: data.Dataset, epochs: int, seed: int = 0) -> float:
    """Fit with a KL weight that rises over the first fifth; return datapoints per second."""
    steps = epochs * -(-len(digits.train) // 128)
    warmup = ppvae.inference.LinearWarmup(max(1, steps // 5))
    start = time.perf_counter()
    ppvae.fit(pair, digits.train, epochs=epochs, batch_size=128, kl_weight=warmup, seed=seed)
    return epochs * len(digits.train) / (time.perf_counter() - start)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Plot log P(X) with two standard errors: a row per prior, a color per posterior."""
    figure, axes = plt.subplots(figsize=(8.5, 3), layout="constrained")
    for place, (name, rows) in enumerate(table.groupby("posterior", sort=False)):
        heights = [list(PRIORS).index(prior) + 0.2 * (place - 1) for prior in rows["prior"]]
        axes.errorbar(
            rows["log P(X)"], heights, xerr=2 * rows["standard error"], fmt="o", label=name
        )
    axes.set_yticks(range(len(PRIORS)), list(PRIORS))
    axes.invert_yaxis()
    axes.set_xlabel("held-out log P(X), nats per image, with two standard errors")
    figure.legend(title="posterior", frameon=False, loc="outside right upper")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(
    folder: str | None = None,
    epochs: int = 20,
    images: int = 1000,
    draws: int = 1000,
    output: str = ".",
) -> None:
    """Train every pair on binary MNIST, print the table and write `variants.png`."""
    digits = data.mnist(folder)
    rows = []
    for prior in PRIORS:
        for posterior in POSTERIORS:
            torch.manual_seed(0)
            pair = build(prior, posterior, digits.train)
            speed = train(pair, digits, epochs)
            evidence = diagnostics.evidence(pair, digits.test[:images], draws=draws)
            summary = diagnostics.summarize(evidence).sel(term="log_evidence")
            row = {
                "prior": prior,
                "posterior": posterior,
                "log P(X)": float(summary["mean"]),
                "standard error": float(summary["standard_error"]),
                "active units": diagnostics.active_units(pair, digits.test[:images]).count,
                "samples/s": round(speed),
            }
            rows.append(row)
            print(", ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    table = pd.DataFrame(rows)
    print(table.round(2).to_string(index=False))
    Path(output).mkdir(parents=True, exist_ok=True)
    draw(table, Path(output) / "variants.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", help="of MNIST's IDX files; by default downloaded")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=1000, help="held-out images that are scored")
    parser.add_argument("--draws", type=int, default=1000, help="draws for log P(X)")
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
