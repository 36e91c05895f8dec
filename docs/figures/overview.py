"""Draws `overview.png`: digits, their reconstructions, log P(X) of each, and formula (2) as bars.

    python docs/figures/overview.py RUN

where RUN is the folder that `ppvae fit digits` has written.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure

import ppvae
from ppvae import data, diagnostics

SHOWN = 10
INK, FULL, HATCHED = "#1a1a1a", "#9ecae1", "#fdae6b"


def main(run: str) -> None:
    """Measure ten test digits and draw them above both sides of formula (2)."""
    digits, pair = data.digits(), ppvae.load(run)
    refined = ppvae.refine(pair, digits.test, draws=1000)
    table, means = refined.table, refined.summarize()
    terms = diagnostics.summarize(diagnostics.evidence(pair, digits.test, posterior=refined))
    order = table.log_evidence.values.argsort()
    # From the least probable digit to the most probable one.
    rows = order[torch.linspace(0, len(order) - 1, SHOWN).round().long()]
    with torch.no_grad():
        latents = refined.means["z"][rows].to(digits.test)
        decoded = pair.decode(latents).mean

    figure = Figure(figsize=(10, 5.4), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.5, 1])
    grid = top.subplots(2, SHOWN)
    for column, row in enumerate(rows):
        for axes, image in zip(grid[:, column], (digits.test[row], decoded[column]), strict=True):
            axes.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color("#bbbbbb")
        here = table.isel(data=row)
        verdict = "trusted" if bool(here.trusted) else "not trusted"
        grid[1, column].set_xlabel(
            f"{float(here.log_evidence):.1f}\n± {float(here.log_evidence_error):.2f}\n{verdict}",
            fontsize=9,
        )
    grid[0, 0].set_ylabel("unseen digit", fontsize=9)
    grid[1, 0].set_ylabel("reconstruction", fontsize=9)
    count = int(table.trusted.sum())
    top.suptitle(
        "Unseen digits from the least to the most probable: log P(X) in nats, its error, and the "
        f"verdict ({count} of {len(order)} trusted)",
        fontsize=11,
    )

    axes = bottom.subplots()
    value = {term: float(terms["mean"].sel(term=term)) for term in terms.term.values}
    value["log_evidence"] = float(means["mean"].sel(term="log_evidence"))
    elbo = value["elbo"]
    sides = (
        ("measured\n(left side)", value["log_evidence"], "log P(X)", "KL[Q(z|X) || P(z|X)]"),
        (
            "trained\n(right side)",
            value["reconstruction"],
            "E_Q[log P(X|z)]",
            "KL[Q(z|X) || P(z)]",
        ),
    )
    for place, (_, first, name, divergence) in enumerate(sides):
        axes.barh(place, first, color=FULL, edgecolor=INK, height=0.55)
        axes.barh(
            place, elbo - first, left=first, color=HATCHED, edgecolor=INK, hatch="//", height=0.55
        )
        axes.text(first / 2, place, f"{name} = {first:.1f}", ha="center", va="center", fontsize=10)
        axes.text(
            1, place, f"hatched: {divergence} = {first - elbo:.1f}", va="center", fontsize=10
        )
    axes.axvline(elbo, color=INK, linestyle="--", linewidth=1)
    axes.set_yticks([0, 1], [side for side, *_ in sides])
    axes.invert_yaxis()
    axes.set_xlim(elbo * 1.04, 42)
    axes.set_xticks([-80, -60, -40, -20, 0])
    axes.set_xlabel(f"nats per digit; both sides of formula (2) end at the ELBO, {elbo:.1f}")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.savefig(Path(__file__).parent / "overview.png", dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
