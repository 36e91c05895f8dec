"""Half the cells of a table are removed and filled in again, with intervals."""

import argparse
import functools
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401, makes the next one
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from torch import nn

import ppvae
from ppvae import data, inference, likelihoods, networks
from ppvae.pairs import ImputedCells, MissingDataVAE

COLUMNS = ("mean radius", "mean texture", "mean smoothness", "mean concave points")
RIVALS = {
    "column means": SimpleImputer(),
    "KNNImputer": KNNImputer(),
    "IterativeImputer": IterativeImputer(random_state=0),
}


def train(gaps: data.Dataset, epochs: int) -> MissingDataVAE:
    """Return a pair of the known cells, fitted to the bound of 10 importance samples."""
    torch.manual_seed(0)
    # A wide decoder, or a scale of each cell, would learn rows: intervals would be too narrow.
    network = functools.partial(networks.MLP, hidden=(32,), activation=nn.Tanh)
    scale = likelihoods.LearnedScale(len(gaps.columns), initial=0.7)
    likelihood = functools.partial(likelihoods.Normal, scale=scale)
    pair = MissingDataVAE.of(gaps, network=network, likelihood=likelihood)
    ppvae.fit(
        pair,
        gaps.batch("train"),
        epochs=epochs,
        batch_size=64,
        objective=inference.ImportanceWeighted_ELBO(10),
        optimizer=functools.partial(torch.optim.Adam, lr=3e-3),
    )
    return pair


def errors(gaps: data.Dataset, truth: data.Dataset, filled: ImputedCells) -> pd.Series:
    """Return the mean squared error of each method, in variances of the complete columns."""
    x, seen = gaps.batch("train")
    by = gaps.standardization
    assert by is not None
    with_nan = torch.where(seen > 0, by(x), torch.nan).numpy()
    found = {"MissingDataVAE": filled.value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for name, imputer in RIVALS.items():
            found[name] = by.invert(torch.as_tensor(imputer.fit_transform(with_nan)))
    off = {name: (values - truth.train) / truth.train.std(0) for name, values in found.items()}
    return pd.Series({name: float(gap[seen == 0].square().mean()) for name, gap in off.items()})


def draw(gaps: data.Dataset, truth: data.Dataset, filled: ImputedCells, path: Path) -> None:
    """Plot filled cells of some columns against what was there, with intervals of 90 %."""
    figure, panels = plt.subplots(2, 2, figsize=(9, 7.5), layout="constrained")
    for axes, name in zip(panels.flat, COLUMNS, strict=True):
        place = gaps.columns.index(name)
        gone = (gaps.seen["train"][:, place] == 0).nonzero().flatten()[:60]
        true, value, low, high = (
            part[gone, place].numpy()
            for part in (truth.train, filled.value, filled.low, filled.high)
        )
        error = np.stack([value - low, high - value]).clip(min=0)
        outside = (true < low) | (true > high)
        for chosen, marker, label in ((~outside, "o", "inside"), (outside, "s", "outside")):
            axes.errorbar(
                true[chosen],
                value[chosen],
                yerr=error[:, chosen],
                fmt=marker,
                markersize=4,
                elinewidth=0.8,
                label=f"truth {label} of the interval",
            )
        ends = [min(true.min(), low.min()), max(true.max(), high.max())]
        axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set(title=name, xlabel="true value", ylabel="filled in, with 90 % interval")
    panels[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(epochs: int = 150, draws: int = 2000, output: str = ".") -> None:
    """Fill in half of the cells of 457 rows, print the errors and write `missing_cells.png`."""
    gaps, truth = data.breast_cancer(missing=0.5), data.breast_cancer()
    pair = train(gaps, epochs)
    filled = pair.impute(*gaps.batch("train"), draws=draws)
    gone = gaps.seen["train"] == 0
    print("Squared error of the missing cells, in variances of their columns")
    print(errors(gaps, truth, filled).sort_values().round(3).to_string())
    inside = ((filled.low <= truth.train) & (truth.train <= filled.high))[gone]
    print(f"{float(inside.double().mean()):.0%} of them lie in their interval of 90 %")
    evidence = ppvae.diagnostics.evidence(pair, gaps, draws=draws)
    print(ppvae.diagnostics.summarize(evidence).to_dataframe())
    draw(gaps, truth, filled, Path(output) / "missing_cells.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--draws", type=int, default=2000, help="of each row")
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
