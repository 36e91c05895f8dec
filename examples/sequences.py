"""Sequences: a deep Markov model forecasts cycles, beside the best forecast there is."""

import argparse
import functools
import math
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pyro.distributions as dist
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import ppvae
from ppvae import data, diagnostics, pairs

SEEN, AHEAD, INNER, OUTER = 24, 12, 0.25, 0.25  # steps, and standard deviations of the noise
ANGLE = 2 * math.pi / 12
TURN = 0.98 * torch.tensor(
    [[math.cos(ANGLE), -math.sin(ANGLE)], [math.sin(ANGLE), math.cos(ANGLE)]]
)
MIX = torch.tensor([[1.0, 0.0], [0.3, 0.9]])  # the two features of a state
INTERVAL = torch.tensor([0.05, 0.5, 0.95])


def train(series: data.Dataset, epochs: int) -> pairs.DeepMarkovModel:
    """Return a pair of the first steps; it is told nothing of the turn or the noise."""
    torch.manual_seed(0)
    pair = pairs.DeepMarkovModel.of(series, latent=2, width=32)
    adam = functools.partial(torch.optim.Adam, lr=5e-3)
    falling = functools.partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=epochs)
    ppvae.fit(pair, series, epochs=epochs, optimizer=adam, schedule=falling)
    return pair


def normal(size: int, scale: float) -> dist.Distribution:
    """Return noise of independent coordinates."""
    scales = torch.full((size,), scale, dtype=torch.float64)
    return dist.Normal(torch.zeros_like(scales), scales).to_event(1)


def best(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Kalman filter's log P(X), and its intervals of what follows: `(3, data, ...)`.

    It knows the model that made the data.
    """
    turn, mix = TURN.double(), MIX.double()
    noise = normal(2, 1e-4), turn.T, normal(2, INNER), mix.T, normal(2, OUTER), SEEN
    filtered = dist.GaussianHMM(*noise)
    state = filtered.filter(x.double())
    mean, covariance, found = state.mean, state.covariance_matrix, []
    for _ in range(AHEAD):
        mean = mean @ turn.T
        covariance = turn @ covariance @ turn.T + INNER**2 * torch.eye(2).double()
        variance = (mix @ covariance @ mix.T).diagonal(dim1=-2, dim2=-1) + OUTER**2
        ahead = torch.distributions.Normal(mean @ mix.T, variance.sqrt())
        found.append(torch.stack([ahead.icdf(each) for each in INTERVAL.double()]))
    return filtered.log_prob(x.double()), torch.stack(found, -2)


def show(axes: Axes, number: int, whole: Tensor, ours: Tensor, exact: Tensor) -> None:
    """Plot a feature of one series and both forecasts of it."""
    steps, ahead = torch.arange(1, SEEN + AHEAD + 1), torch.arange(SEEN + 1, SEEN + AHEAD + 1)
    low, middle, high = ours
    axes.fill_between(
        ahead, low, high, color="tab:blue", alpha=0.25, linewidth=0, label="the pair's 90 %"
    )
    axes.plot(ahead, middle, color="tab:blue", label="its median")
    for limit, label in ((exact[0], "best 90 % there is"), (exact[2], None)):
        axes.plot(ahead, limit, color="black", linewidth=0.9, linestyle="--", label=label)
    axes.plot(steps[:SEEN], whole[:SEEN], ".-", color="0.35", linewidth=0.6, label="seen")
    axes.plot(ahead, whole[SEEN:], "o", color="black", fillstyle="none", ms=4, label="what came")
    axes.set(title=f"held-out series {number}")
    axes.spines[["top", "right"]].set_visible(False)


def draw(whole: Tensor, ours: Tensor, exact: Tensor) -> Figure:
    """Show four forecasts, and how often intervals hold what came, by how far it lay ahead."""
    figure = plt.figure(figsize=(11, 5.2), layout="constrained")
    grid = figure.add_gridspec(1, 2, width_ratios=(2.4, 1))
    left, right = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    panels = left.subplots(2, 2, sharex=True, sharey=True)
    for number, axes in enumerate(panels.flat):
        show(axes, number, whole[number, :, 0], ours[:, number, :, 0], exact[:, number, :, 0])
    left.supxlabel("step", fontsize="medium")
    left.supylabel("first feature", fontsize="medium")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    left.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
    shares, widths = right.subplots(2, 1, sharex=True)
    ahead = torch.arange(1, AHEAD + 1)
    inside = (ours[0] <= whole[:, SEEN:]) & (whole[:, SEEN:] <= ours[2])
    error = 2 * math.sqrt(0.9 * 0.1 / len(whole))  # of series; the features of one go together
    shares.fill_between(ahead, 0.9 - error, 0.9 + error, color="0.88", linewidth=0)
    shares.plot(ahead, inside.double().mean((0, 2)), "o", color="tab:blue")
    shares.set(title="share of intervals that hold", ylim=(0.75, 1), ylabel="share")
    widths.plot(ahead, (ours[2] - ours[0]).mean((0, 2)), color="tab:blue", label="pair")
    best_widths = (exact[2] - exact[0]).mean((0, 2))
    widths.plot(ahead, best_widths, color="black", linestyle="--", label="best")
    widths.set(title="their mean width", ylim=(0, None), xlabel="steps ahead", ylabel="width")
    widths.legend(frameon=False, loc="lower right")
    widths.set_xticks(range(2, AHEAD + 1, 2))
    for axes in (shares, widths):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def main(epochs: int = 30, rows: int = 2500, draws: int = 500, output: str = ".") -> None:
    """Fit, print log P(X) beside the Kalman filter's, forecast, and write `sequences.png`."""
    every = data.state_space(
        rows, SEEN + AHEAD, transition=TURN, emission=MIX, inner=INNER, outer=OUTER
    )
    parts = {part: getattr(every, part)[:, :SEEN] for part in ("train", "validation", "test")}
    pair = train(replace(every, **parts, series_shape=(SEEN, 2)), epochs)
    whole, x = every.test, parts["test"]
    log_evidence, exact = best(x)
    evidence = diagnostics.evidence(pair, x, draws=100)
    print(diagnostics.summarize(evidence).to_dataframe().round(2))
    print(f"log P(X) by the model that made them {float(log_evidence.mean()):.2f} nats a series")
    ahead = pair.forecast(x, AHEAD, draws=draws)
    ours = ahead.quantile(INTERVAL, dim=0)
    inside = (ours[0] <= whole[:, SEEN:]) & (whole[:, SEEN:] <= ours[2])
    print(f"{float(inside.double().mean()):.0%} of what came lies in its interval of 90 %")
    Path(output).mkdir(parents=True, exist_ok=True)
    figure = draw(whole, ours, exact)
    figure.savefig(Path(output) / "sequences.png", dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
