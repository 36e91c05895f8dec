"""Checks of formula (2): log P(X), how much of it the guide misses, and why."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.checks.subject import Subject, with_error
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.inference_gaps import gaps
from ppvae.diagnostics.marginal_likelihood import bdmc, bound_table, evidence, summarize
from ppvae.engine import Batch


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


def annealing(subject: Subject) -> list[Finding]:
    """Compare log P(X) with annealed importance sampling, and with bounds from both sides."""
    batch = tuple(tensor[: subject.effort.annealed] for tensor in subject.batch)
    return [_annealed(subject, batch), _both_sides(subject, batch)]


def _annealed(subject: Subject, batch: Batch) -> Finding:
    table = bound_table(
        subject.pair,
        batch,
        draws=subject.effort.draws,
        temperatures=subject.effort.temperatures,
        seed=subject.seed,
        progress=subject.progress,
    )
    mean = {str(bound): float(table["mean"].sel(bound=bound)) for bound in table.bound.values}
    error = float(table.mean_error.sel(bound="ais"))
    verdict, advice = Verdict.LOOK, "Annealing has not converged: use more temperatures."
    if bool(table.mean_converged):
        verdict = graded(mean["ais"] - mean["importance"], 4 * error + 0.1, 5)
        advice = "The guide misses part of the posterior: the higher value is the better one."
    return Finding(
        "annealing (AIS)",
        verdict,
        f"log P(X) of {table.sizes['data']} datapoints {mean['ais']:.2f} +- {error:.2f}, by "
        f"importance sampling {mean['importance']:.2f}",
        advice,
        {"bounds": table},
    )


def _both_sides(subject: Subject, batch: Batch) -> Finding:
    sides = bdmc(
        subject.pair,
        batch,
        simulations=subject.effort.annealed,
        temperatures=subject.effort.temperatures,
        seed=subject.seed,
        progress=subject.progress,
    )
    width = float(sides.gap)
    return Finding(
        "bounds (BDMC)",
        graded(width, 0.1, 1),
        f"for simulated datapoints, log P(X) is known to within {width:.3f} nats",
        "Annealing is too fast for this pair: use more temperatures.",
        {"bdmc": sides},
    )


def _by_term(terms: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return means over the data and their errors, by term."""
    summary = summarize(terms)
    return {str(term): summary.sel(term=term) for term in summary.term.values}
