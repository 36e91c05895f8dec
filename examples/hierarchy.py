"""Two layers of latents: the upper one says what digit it is, the lower one how it is drawn."""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

import ppvae
from ppvae import data, diagnostics, pairs
from ppvae.inference import LinearWarmup

SHOWN, DRAWN, SIDE = 6, 8, 8  # digits, draws of each, pixels of a side


def train(digits: data.Dataset, epochs: int) -> pairs.HierarchicalVAE:
    """Fit a pair, its KL weight rising over the first half, so that the upper layer is used."""
    pair = pairs.HierarchicalVAE.of(digits, latent=(16, 4))
    steps = epochs * -(-len(digits.train) // 128)
    warmup = LinearWarmup(max(1, steps // 2))
    ppvae.fit(pair, digits.train, epochs=epochs, kl_weight=warmup)
    return pair


def draw(pair: pairs.HierarchicalVAE, digits: data.Dataset) -> Figure:
    """Show draws with the upper layer fixed, and the KL of each layer with two standard errors."""
    x = digits.test[:SHOWN]
    _, upper = pair.encode(x)
    drawn = pair.sample(DRAWN, above=[upper])
    columns = torch.cat([x[None], torch.zeros_like(x)[None], drawn])  # an empty one between
    cells = columns.reshape(DRAWN + 2, SHOWN, SIDE, SIDE)
    cells = torch.nn.functional.pad(cells, (1, 1, 1, 1)).permute(1, 2, 0, 3)
    figure = plt.figure(figsize=(9, 4.2), layout="constrained")
    pictures, bars = figure.subplots(1, 2, width_ratios=(2, 1))
    pictures.imshow(cells.reshape(SHOWN * (SIDE + 2), -1).numpy(), cmap="gray_r", vmin=0, vmax=16)
    pictures.set(title="a digit, and draws with its upper layer fixed", xticks=[], yticks=[])
    pictures.spines[:].set_visible(False)
    kl = diagnostics.kl_per_site(pair, digits).kl
    error = 2 * kl.std("data") / kl.sizes["data"] ** 0.5
    bars.bar(["upper, z2", "lower, z1"], kl.mean("data"), yerr=error, color="0.6", width=0.6)
    bars.set(title="what each layer holds", ylabel="KL, nats per digit, two standard errors")
    bars.spines[["top", "right"]].set_visible(False)
    return figure


def main(epochs: int = 100, draws: int = 200, output: str = ".") -> None:
    """Train on the digits, print formula (2) and the KL of each layer, write `hierarchy.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    pair = train(digits, epochs)
    evidence = diagnostics.evidence(pair, digits.test, draws=draws)
    print(diagnostics.summarize(evidence).to_dataframe().round(2))
    layers = diagnostics.kl_per_site(pair, digits).kl.mean("data")
    print("KL by layer: " + ", ".join(f"{z.site.item()} {z.item():.2f} nats" for z in layers))
    Path(output).mkdir(parents=True, exist_ok=True)
    figure = draw(pair, digits)
    figure.savefig(Path(output) / "hierarchy.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
