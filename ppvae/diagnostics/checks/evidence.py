"""Checks of formula (2): log P(X), how much of it the guide misses, and why."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.checks.subject import Subject, with_error
from ppvae.diagnostics.findings import Finding, graded
from ppvae.diagnostics.inference_gaps import gaps
from ppvae.diagnostics.marginal_likelihood import evidence, summarize


def formula_two(subject: Subject) -> list[Finding]:
    """Measure log P(X), what the guide misses of it, and the tails of the weights."""
    terms = evidence(
        subject.pair,
        subject.batch,
        draws=subject.effort.draws,
        seed=subject.seed,
        progress=subject.progress,
    ).assign_coords(data=subject.rows)
    return [_guide(terms), _tails(terms)]


def _guide(terms: xr.Dataset) -> Finding:
    of = _by_term(terms)
    missed = of["posterior_kl"]
    return Finding(
        "guide, KL[Q||P(z|X)]",
        graded(float(missed["mean"]), look=1, bad=10),
        f"log P(X) {with_error(of['log_evidence'])}, ELBO {with_error(of['elbo'])} nats per "
        f"datapoint; the guide misses {with_error(missed)}",
        "The guide is far from the posterior p(z|x). The gaps say whether a richer family or a "
        "better encoder would help; the model itself may be fine.",
        {"evidence": terms},
    )


def _tails(terms: xr.Dataset) -> Finding:
    threshold, draws = terms.attrs["threshold"], terms.attrs["draws"]
    above = float((terms.pareto_k > threshold).mean())
    worst = terms.data.values[np.argsort(-terms.pareto_k.values)[:5]]
    return Finding(
        "importance weights",
        graded(above, 0.01, 0.1),
        f"Pareto k is above {threshold:.2f} for {above:.1%} of the datapoints; "
        f"effective draws {float(terms.effective_sample_size.median()):.0f} of {draws}",
        "There the guide is too narrow in some direction, log P(X) is too low and its error too "
        f"small: use more draws, or level deep. Worst rows: {', '.join(map(str, worst))}.",
    )


def search(subject: Subject) -> list[Finding]:
    """Split what the guide misses into the losses from its family and from its encoder."""
    batch = tuple(tensor[: subject.effort.searched] for tensor in subject.batch)
    table = gaps(subject.pair, batch, seed=subject.seed, progress=subject.progress)
    table = table.assign_coords(data=subject.rows[: table.sizes["data"]])
    of = _by_term(table)
    larger = max("approximation", "amortization", key=lambda name: float(of[name]["mean"]))
    remedy = {
        "approximation": "The family loses most: use a more flexible posterior.",
        "amortization": "The encoder loses most: use a larger network, or train longer.",
    }[larger]
    moving = 1 - float(table.converged.mean())
    return [
        Finding(
            "gaps",
            graded(float(of["total"]["mean"]), 1, 10),
            f"of {with_error(of['total'])} nats the family loses "
            f"{with_error(of['approximation'])}, the encoder {with_error(of['amortization'])}",
            remedy + (f" The search has not converged for {moving:.0%}." if moving else ""),
            {"gaps": table},
        )
    ]


def _by_term(terms: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return means over the data and their errors, by term."""
    summary = summarize(terms)
    return {str(term): summary.sel(term=term) for term in summary.term.values}
