"""The check of log P(X) by annealing, and of annealing by bounds from both sides."""

import math
from contextlib import suppress

import xarray as xr

from ppvae.diagnostics.checks.remedies import more_temperatures, refined
from ppvae.diagnostics.checks.subject import Subject, does_not_apply
from ppvae.diagnostics.findings import Finding, Verdict, graded
from ppvae.diagnostics.marginal_likelihood import bdmc, bound_table
from ppvae.engine import Batch, Unsupported

_ERRORS = 4  # standard errors by which values of one log P(X) may differ by chance
_BAD = 1.0  # nats between the bounds from both sides


def annealed(subject: Subject) -> list[Finding]:
    """Anneal from the guide and from the prior, and bound the error of the better start."""
    batch = subject.first(subject.effort.annealed)
    try:
        guide = _bounds(subject, batch, from_guide=True)
    except Unsupported as error:
        prior = _bounds(subject, batch, from_guide=False)
        refused = does_not_apply("annealing from guide", error)
        return [
            _compared(subject, prior, None, "prior"),
            refused,
            _both_sides(subject, batch, False),
        ]
    try:
        prior = _bounds(subject, batch, from_guide=False)
    except Unsupported as error:
        return [_compared(subject, guide, None), does_not_apply("annealing from prior", error)]
    from_guide = _rise(guide, prior) <= 0
    return [_compared(subject, guide, prior), _both_sides(subject, batch, from_guide)]


def _bounds(subject: Subject, batch: Batch, *, from_guide: bool) -> xr.Dataset:
    return bound_table(
        subject.pair,
        batch,
        draws=subject.effort.draws,
        temperatures=subject.effort.temperatures,
        from_guide=from_guide,
        seed=subject.seed,
        progress=subject.progress,
    )


def _rise(guide: xr.Dataset, prior: xr.Dataset) -> float:
    """Return by how much annealing from the prior is higher, less what may be chance."""
    (low, low_error), (high, high_error) = _annealing(guide), _annealing(prior)
    return high - low - _ERRORS * math.hypot(low_error, high_error)


def _annealing(table: xr.Dataset) -> tuple[float, float]:
    """Return the mean log P(X) by annealing, and its standard error."""
    row = table.sel(bound="ais")
    return float(row["mean"]), float(row.mean_error)


def _compared(
    subject: Subject, guide: xr.Dataset, prior: xr.Dataset | None, start: str = "guide"
) -> Finding:
    mean, error = _annealing(guide)
    weighted = float(guide["mean"].sel(bound="importance"))
    answer = (
        f"log P(X) of {guide.sizes['data']} datapoints {mean:.2f} +- {error:.2f} from the {start}"
    )
    results, reported, missed = {"bounds": guide}, guide, False
    if prior is not None:
        results["bounds_from_prior"] = prior
        missed = _rise(guide, prior) > 0
        reported = prior if missed else guide
        mean, error = _annealing(prior)
        answer += f", {mean:.2f} +- {error:.2f} from the prior"
        mean, error = _annealing(reported)
    verdict = graded(mean - weighted, _ERRORS * error + 0.1, 5)
    remedy = refined(subject, "annealing finds more than the guide", mean - weighted, "gaps")
    advice = "The guide misses part of the posterior: the higher value is the better one."
    if missed:
        verdict = Verdict.BAD if verdict is Verdict.BAD else Verdict.LOOK
        advice = (
            "Annealing from the prior finds mass that the guide misses: the higher value is the "
            "better one."
        )
    if not bool(reported.mean_converged):
        verdict, advice = Verdict.LOOK, "Annealing has not converged: use more temperatures."
        remedy = more_temperatures(subject, "annealing has not converged")
    return Finding(
        "annealing (AIS)",
        verdict,
        f"{answer}; by importance sampling {weighted:.2f}",
        advice,
        results,
        remedy=remedy,
    )


def _both_sides(subject: Subject, batch: Batch, from_guide: bool) -> Finding:
    start, sides = "prior", None
    if from_guide:
        with suppress(Unsupported):  # such as observations that the guide does not read
            start, sides = "guide", _sides(subject, batch, True)
    if sides is None:
        try:
            sides = _sides(subject, batch, False)
        except Unsupported as refusal:
            return does_not_apply("bounds (BDMC)", refusal)
    gap, error = float(sides.gap), float(sides.gap_error)
    verdict = Verdict.FINE if bool(sides.converged) else graded(gap - 2 * error, -math.inf, _BAD)
    return Finding(
        "bounds (BDMC)",
        Verdict.UNKNOWN if math.isnan(error) else verdict,
        f"annealing from the {start} knows log P(X) of simulated datapoints to within "
        f"{max(gap, 0) + 2 * error:.3f} nats",
        "Annealing is too fast for this pair: use more temperatures.",
        {"bdmc": sides},
        remedy=more_temperatures(subject, "annealing is too fast"),
    )


def _sides(subject: Subject, batch: Batch, from_guide: bool) -> xr.Dataset:
    return bdmc(
        subject.pair,
        batch,
        simulations=subject.effort.annealed,
        temperatures=subject.effort.temperatures,
        from_guide=from_guide,
        seed=subject.seed,
        progress=subject.progress,
    )
