"""Eight schools: latents that all data share, an automatic guide, and what it misses."""

import argparse
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyro
import pyro.distributions as dist
import torch
from matplotlib.figure import Figure
from pyro.infer import Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from torch import Tensor

import ppvae
from ppvae import diagnostics
from ppvae.inference import CosineDecay

SCHOOLS = "ABCDEFGH"
EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
PRIOR = 5.0  # standard deviation of mu, and scale of tau


def model(effects: Tensor, errors: Tensor) -> None:
    """Effects of coaching in eight schools (Rubin, "Estimation in parallel experiments", 1981)."""
    mu = pyro.sample("mu", dist.Normal(0.0, PRIOR))
    tau = pyro.sample("tau", dist.HalfNormal(PRIOR))
    with pyro.plate("schools", len(effects)):
        eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
        pyro.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)


def named(mu: Tensor, tau: Tensor, theta: Tensor) -> pd.DataFrame:
    """Return draws as columns: what the schools share, and the effect theta in each."""
    columns = {"mean of schools": mu.flatten(), "spread of schools": tau.flatten()}
    columns |= {f"school {name}": theta[:, place] for place, name in enumerate(SCHOOLS)}
    return pd.DataFrame({name: values.double().numpy() for name, values in columns.items()})


def with_theta(values: dict[str, Tensor]) -> pd.DataFrame:
    """Return draws of mu, tau and eta, one draw a row, as `named` does."""
    mu, tau = values["mu"].reshape(-1, 1), values["tau"].reshape(-1, 1)
    return named(mu, tau, mu + tau * values["eta"].reshape(len(mu), -1))


def exactly(draws: int) -> pd.DataFrame:
    """Draw from the posterior itself: given tau it is normal, and tau is drawn from a grid."""
    grid = torch.linspace(0.001, 40, 20_000).double()
    variance = ERRORS.double().square() + grid[:, None].square()  # of effects given mu
    precision = 1 / PRIOR**2 + (1 / variance).sum(1)  # of mu
    mean = (EFFECTS / variance).sum(1) / precision
    log_density = dist.Normal(0.0, variance.sqrt()).log_prob(EFFECTS).sum(1)
    log_density += (precision * mean.square() - precision.log()) / 2
    log_density += dist.HalfNormal(PRIOR).log_prob(grid)
    chosen = dist.Categorical(logits=log_density).sample((draws,))
    tau = grid[chosen, None]
    mu = mean[chosen, None] + precision[chosen, None].rsqrt() * torch.randn(draws, 1).double()
    own = 1 / (1 / tau.square() + 1 / ERRORS.double().square())
    loc = own * (mu / tau.square() + EFFECTS / ERRORS.double().square())
    return named(mu, tau, loc + own.sqrt() * torch.randn_like(loc))


def drawn(posteriors: dict[str, pd.DataFrame]) -> Figure:
    """Return a figure of the intervals of each quantity, and of the density of the spread."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[3, 2])
    looks = {"exact": ("black", "D"), "refined": ("C0", "s"), "guide": ("0.6", "o")}
    for place, (label, (color, marker)) in enumerate(looks.items()):
        values = posteriors[label]
        rows = torch.arange(values.shape[1]).numpy() + 0.2 * (place - 1)
        left.hlines(rows, values.quantile(0.05), values.quantile(0.95), color=color, linewidth=2)
        left.plot(values.mean(), rows, marker, color=color, markersize=5, label=label)
        right.hist(
            values["spread of schools"],
            bins=30,
            range=(0, 12),
            density=True,
            histtype="stepfilled" if label == "exact" else "step",
            color="0.85" if label == "exact" else color,
            linewidth=2,
            label=label,
        )
    left.plot(EFFECTS, torch.arange(2, 10), "x", color="black", label="measured")
    left.set_yticks(range(len(values.columns)), list(values.columns))
    left.invert_yaxis()
    left.set_xlabel("points")
    left.set_title("Posterior means, and intervals of 90 %", fontsize=10)
    left.legend(fontsize=8, frameon=False)
    right.set_xlim(0, 12)
    right.set_xlabel("spread of schools in points")
    right.set_yticks([])
    right.set_title("Posterior density of the spread", fontsize=10)
    right.legend(fontsize=8, frameon=False)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(steps: int = 2000, draws: int = 20_000, output: str = ".") -> None:
    """Fit, say what the guide misses, put it right, write `eight_schools.png`."""
    pyro.clear_param_store()
    torch.manual_seed(0)
    data = (EFFECTS, ERRORS)
    pair = SimpleNamespace(model=model, guide=AutoNormal(model))
    ppvae.fit(
        pair,
        data,
        steps=steps,
        batch_size=len(EFFECTS),
        objective=Trace_ELBO(num_particles=50, vectorize_particles=True, max_plate_nesting=1),
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=0.03),
        schedule=CosineDecay,
    )
    print(diagnostics.diagnose(pair, data, effort=diagnostics.QUICK).findings[0])
    refined = ppvae.refine(pair, data, together=True, draws=draws)
    with torch.no_grad(), pyro.plate("draws", draws, dim=-2):
        of_guide = pair.guide(*data)
    posteriors = {
        "guide": with_theta(of_guide),
        "refined": with_theta(refined.draws),
        "exact": exactly(draws),
    }
    exact = posteriors["exact"]
    table = pd.DataFrame({"exact mean": exact.mean(), "exact sd": exact.std()})
    for label in ("guide", "refined"):
        table[f"{label} off by"] = (posteriors[label].mean() - exact.mean()) / exact.std()
    print("\nPosterior means, and how far others are off, in standard deviations:")
    print(table.round(2).to_string())
    Path(output).mkdir(parents=True, exist_ok=True)
    drawn(posteriors).savefig(Path(output) / "eight_schools.png", dpi=150)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--output", default=".", help="folder of the figure")
    main(**vars(parser.parse_args()))
