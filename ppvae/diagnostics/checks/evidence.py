"""Checks of formula (2): log P(X), how much of it the guide misses, and why."""

import math
from contextlib import suppress
from typing import Any

import numpy as np
import xarray as xr

from ppvae.diagnostics.checks.remedies import refined, richer_family
from ppvae.diagnostics.checks.subject import Subject, latent_numbers, with_error
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.inference_gaps import gaps
from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, summarize, tail_length
from ppvae.diagnostics.remedies import Remedy
from ppvae.engine import Unsupported

_HEAVY = 0.7  # the k from which on no number of draws is enough
_MANY = 200  # draws; the tails of fewer are too uncertain for the worst verdict
_SINGLE = "A single datapoint does not tell what the guide misses of others: pass more."


def formula_two(subject: Subject) -> list[Finding]:
    """Measure log P(X), what the guide misses of it, and the tails of the weights."""
    terms = subject.evidence
    tails = _tails(subject, terms)
    return [_guide(subject, terms, tails.verdict), tails]


def _missed_verdict(missed: float, latents: int) -> Verdict:
    """Grade what the guide misses: a tenth of a nat for each latent is worth a look, one is bad.

    A shift of a normal guide by half a standard deviation, or standard deviations that are 0.7 or
    1.5 times the right ones, cost about a tenth of a nat. With ten latents or more, one nat and
    ten nats are the limits.
    """
    count = max(1, latents)
    return graded(missed, look=min(1, 0.1 * count), bad=min(10, count))


def _guide(subject: Subject, terms: xr.Dataset, tails: Verdict) -> Finding:
    of = _by_term(terms)
    missed = of["posterior_kl"]
    verdict = _missed_verdict(float(missed["mean"]), latent_numbers(subject))
    advice = (
        "The guide is far from the posterior p(z|x). The gaps say whether a richer family or a "
        "better encoder would help; the model itself may be fine."
    )
    if terms.sizes["data"] == 1:
        verdict, advice = Verdict.UNKNOWN, _SINGLE
    elif verdict is Verdict.FINE and tails is Verdict.BAD:
        verdict = Verdict.LOOK
        advice = "The guide misses more than its own draws tell: see the importance weights."
    least = "at least " if tails is Verdict.BAD else ""
    return Finding(
        "guide, KL[Q||P(z|X)]",
        verdict,
        f"log P(X) {with_error(of['log_evidence'])}, ELBO {with_error(of['elbo'])} nats per "
        f"datapoint; the guide misses {least}{with_error(missed)}",
        advice,
        {"evidence": terms},
        remedy=refined(subject, "the guide is far from it", float(missed["mean"]), "gaps"),
    )


def _tails(subject: Subject, terms: xr.Dataset) -> Finding:
    threshold, draws = terms.attrs["threshold"], terms.attrs["draws"]
    sizes = terms.effective_sample_size
    effective = f"effective draws {float(sizes.median()):.0f} of {draws}"
    if draws < FEWEST_DRAWS:
        equal = float(sizes.min()) > 0.99 * draws
        return Finding(
            "importance weights",
            Verdict.FINE if equal else Verdict.UNKNOWN,
            effective,
            f"The tails of the weights need at least {FEWEST_DRAWS} draws, got {draws}.",
        )
    untrusted = 1 - float(terms.trusted.mean())
    worst = np.argsort(-terms.pareto_k.values)[:5]
    return Finding(
        "importance weights",
        _tail_verdict(terms, untrusted),
        f"Pareto k, pooled over the datapoints, is above {threshold:.2f} for {untrusted:.1%} of "
        f"them; {effective}",
        f"The guide is too narrow there in some direction, and log P(X) {_too_low(terms)}. Worst "
        f"rows: {subject.names.shown(worst)}.",
        remedy=refined(subject, "the guide's weights cannot be trusted", cause="gaps"),
    )


def _tail_verdict(terms: xr.Dataset, untrusted: float) -> Verdict:
    """Return "bad" only if a tenth of the datapoints have k > 0.7 for certain, with many draws."""
    draws, rows = terms.attrs["draws"], terms.sizes["data"]
    error = (1 + _HEAVY) / math.sqrt(tail_length(draws) * rows)
    heavy = float((terms.pooled_k > _HEAVY + 2 * error).mean())
    if draws >= _MANY and _lower_limit(heavy, rows) >= 0.1:
        return Verdict.BAD
    return graded(untrusted, 0.01, math.inf)


def _lower_limit(share: float, count: int, deviations: float = 2) -> float:
    """Return the lower confidence limit of a share of `count`, as two standard errors are of 95 %.

    By Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    extra = deviations**2 / count
    spread = math.sqrt(share * (1 - share) / count + extra / (4 * count))
    return (share + extra / 2 - deviations * spread) / (1 + extra)


def _too_low(terms: xr.Dataset) -> str:
    unseen = terms.unseen.values[~terms.trusted.values]
    size = float(np.median(unseen)) if len(unseen) else math.inf
    if math.isfinite(size):
        return f"may be too low by about {size:.2f} nats"
    return "is too low by more than these draws tell"


def search(subject: Subject) -> list[Finding]:
    """Split what the guide misses into the losses from its family and from its encoder."""
    batch = subject.first(subject.effort.searched)
    rows = len(batch[0])
    known = _refined_log_evidence(subject, rows)
    options: dict[str, Any] = {"seed": subject.seed, "progress": subject.progress}
    table = gaps(subject.pair, batch, log_evidence=known, **options)
    of = _by_term(table)
    refusal = table.attrs["not_searched"]
    split, advice, remedy = _normal_alone(subject, of) if refusal else _split(subject, of)
    by = "by the search" if known is None else "by refined posteriors"
    answer = (
        f"of {with_error(of['total'])} nats {split}; {by}, log P(X) of these {rows} datapoints is "
        f"{higher(subject, table.log_evidence)}"
    )
    if refusal:
        answer += f". How much the family and the encoder lose is not known: {refusal}"
    moving = 1 - float(table.converged.mean())
    if moving:
        advice += f" The search has not converged for {moving:.0%}."
    verdict = _missed_verdict(float(of["total"]["mean"]), latent_numbers(subject))
    if rows == 1:
        verdict, advice = Verdict.UNKNOWN, _SINGLE
    return [
        Finding(
            "gaps",
            verdict,
            answer,
            advice,
            {"gaps": table},
            remedy=remedy,
        )
    ]


def _split(subject: Subject, of: dict[str, xr.Dataset]) -> tuple[str, str, Remedy]:
    """Say what the family and the encoder lose, and what helps where most is lost."""
    family, encoder = (float(of[name]["mean"]) for name in ("approximation", "amortization"))
    losses = (
        f"the family loses {with_error(of['approximation'])}, the encoder "
        f"{with_error(of['amortization'])}"
    )
    if family > encoder:
        advice = "The family loses most: use a more flexible posterior."
        return losses, advice, richer_family(subject, "the family loses most", family)
    advice = (
        "The encoder loses most: refine the posterior of each datapoint. More data, early "
        "stopping or a larger network make the encoder better."
    )
    return losses, advice, refined(subject, "the encoder loses most", encoder)


def _normal_alone(subject: Subject, of: dict[str, xr.Dataset]) -> tuple[str, str, Remedy]:
    """Say what the best normal loses, and whether the guide loses more."""
    normal, total = of["normal_approximation"], of["total"]
    loses, missed = float(normal["mean"]), float(total["mean"])
    if loses < missed:
        advice = (
            "The best normal loses less than the guide: use a full-rank normal, or train longer."
        )
        remedy = richer_family(subject, "a normal loses less than the guide", missed - loses)
    else:
        advice = "No normal loses less than the guide: use a more flexible posterior."
        remedy = refined(subject, "no normal loses less than the guide", missed)
    return (
        f"the best normal with all correlations would lose {with_error(normal)}",
        advice,
        remedy,
    )


def _refined_log_evidence(subject: Subject, rows: int) -> xr.Dataset | None:
    """Return log P(X) of the first datapoints by refined posteriors, where each has a number."""
    if subject.effort.refined < rows:
        return None
    with suppress(Unsupported):
        table = subject.refined.table.isel(data=slice(rows))
        if np.isfinite(table.log_evidence).all() and table.log_evidence_error.notnull().all():
            return table
    return None


def higher(subject: Subject, log_evidence: xr.DataArray) -> str:
    """Say how log P(X) of the first datapoints differs from that by the guide's draws.

    The guide's own draws miss what lies beyond its tails, so that another estimate is usually
    higher.
    """
    of_guide = subject.evidence.log_evidence.isel(data=slice(log_evidence.sizes["data"]))
    differences = log_evidence.values - of_guide.values
    known = np.isfinite(differences)
    difference = float(differences[known].mean()) if known.any() else math.nan
    if abs(difference) < 0.005:
        return "as by the guide's draws"
    side = "above" if difference > 0 else "below"
    return f"{abs(difference):.2f} {side} that by the guide's draws"


def _by_term(terms: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return means over the data and their errors, by term."""
    summary = summarize(terms)
    return {str(term): summary.sel(term=term) for term in summary.term.values}
