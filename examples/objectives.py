"""Compare objectives: their bounds of log P(X) and the noise of their gradients."""

import argparse
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import torch
from pyro.infer import ELBO, Trace_ELBO, TraceMeanField_ELBO

import ppvae
from ppvae import data, diagnostics, pairs
from ppvae.inference import (
    CombinedImportanceWeighted_ELBO,
    FreeBits_ELBO,
    ImportanceWeighted_ELBO,
    MaximumMeanDiscrepancy_ELBO,
    PartiallyImportanceWeighted_ELBO,
    StickingTheLanding_ELBO,
    TotalCorrelation_ELBO,
    VariationalRenyi_ELBO,
)

ROWS = 50  # size of the minibatch whose gradients are measured
AT_ONCE = {"max_plate_nesting": 1, "vectorize_particles": True}
OBJECTIVES: dict[str, Callable[[int], ELBO]] = {
    "ELBO": lambda k: Trace_ELBO(k, **AT_ONCE),
    "ELBO, closed-form KL": lambda k: TraceMeanField_ELBO(k, **AT_ONCE),
    "ELBO, sticking the landing": StickingTheLanding_ELBO,
    "importance weighted": ImportanceWeighted_ELBO,
    "importance weighted, doubly reparameterized": lambda k: ImportanceWeighted_ELBO(
        k, doubly_reparameterized=True
    ),
    "half of each (CIWAE)": lambda k: CombinedImportanceWeighted_ELBO(k, elbo_weight=0.5),
    "the guide's of 2 draws (PIWAE)": lambda k: PartiallyImportanceWeighted_ELBO(
        min(k, 2), repeats=max(k // 2, 1)
    ),
    "Renyi, alpha 0.5": lambda k: VariationalRenyi_ELBO(0.5, k),
    "free bits, 1 nat a dimension": lambda k: FreeBits_ELBO(
        1.0, per_dimension=True, num_particles=k, **AT_ONCE
    ),
    "total correlation, beta 4": lambda k: TotalCorrelation_ELBO(
        1000, beta=4, num_particles=k, **AT_ONCE
    ),
    "mean discrepancy, weight 10": lambda k: MaximumMeanDiscrepancy_ELBO(
        10, num_particles=k, **AT_ONCE
    ),
}


def bound(pair: ppvae.VAE, objective: ELBO, x: torch.Tensor, repeats: int) -> float:
    """Return the objective's value in nats per datapoint, averaged over evaluations."""
    losses = [objective.loss(pair.model, pair.guide, x) for _ in range(repeats)]
    return -sum(losses) / (repeats * len(x))


def signal_to_noise(
    pair: ppvae.VAE, objective: ELBO, x: torch.Tensor, draws: int
) -> tuple[float, float]:
    """Return the signal-to-noise ratio of the gradient of the decoder, and of the encoder."""
    measured = diagnostics.gradient_signal(pair, x, draws=draws, objective=objective)
    ratios = []
    for part in ("likelihood", "posterior"):
        own = measured.sel(parameter=[str(n) for n in measured.parameter.values if part in str(n)])
        signal, noise = (own.signal**2).sum() ** 0.5, (own.noise**2).sum() ** 0.5
        ratios.append(float(signal / noise))
    return ratios[0], ratios[1]


def draw(table: pd.DataFrame, log_evidence: float, path: Path) -> None:
    """Plot the bound and both ratios against the number of draws."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 5), layout="constrained")
    columns = ("bound", "decoder", "encoder")
    titles = (
        "bound, nats per datapoint",
        "decoder's gradient, signal to noise",
        "encoder's gradient, signal to noise",
    )
    for ax, column, title in zip(axes, columns, titles, strict=True):
        for place, (name, rows) in enumerate(table.groupby("objective", sort=False)):
            line = "o-" if place < 8 else "s--"  # there are ten colors
            ax.plot(rows["draws"], rows[column], line, markersize=3, linewidth=1, label=name)
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.set_xlabel("draws of each datapoint")
        ax.set_title(title, fontsize=10)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].axhline(log_evidence, color="black", linewidth=0.8, linestyle=":")
    axes[0].annotate("log P(X)", (1, log_evidence), va="bottom", fontsize=8)
    for ax in axes[1:]:
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter("{x:g}")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=3, frameon=False, fontsize=8, loc="outside lower center")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main(
    epochs: int = 20,
    draws: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64),
    gradients: int = 100,
    output: str = ".",
) -> None:
    """Fit a pair by the ELBO, evaluate every objective on it, and write `objectives.png`."""
    torch.manual_seed(0)
    digits = data.digits()
    pair = pairs.assemble(digits, latent=8)
    ppvae.fit(pair, digits, epochs=epochs)
    pair.eval()
    x = digits.test[:ROWS]
    rows = []
    for name, make in OBJECTIVES.items():
        for count in draws:
            decoder, encoder = signal_to_noise(pair, make(count), x, gradients)
            value = bound(pair, make(count), x, repeats=20)
            row = {"objective": name, "draws": count, "bound": value}
            rows.append({**row, "decoder": decoder, "encoder": encoder})
    table = pd.DataFrame(rows)
    print(table.round(2).to_string(index=False))
    log_evidence = float(diagnostics.evidence(pair, x, draws=5000).log_evidence.mean())
    print(f"log P(X) {log_evidence:.2f} nats per datapoint, by 5000 draws")
    Path(output).mkdir(parents=True, exist_ok=True)
    draw(table, log_evidence, Path(output) / "objectives.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--gradients", type=int, default=100, help="gradients for each ratio")
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
