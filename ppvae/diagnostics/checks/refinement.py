"""The check of what refined posteriors say, where the guide's draws cannot be trusted."""

from ppvae.diagnostics.checks.evidence import higher
from ppvae.diagnostics.checks.remedies import more_draws
from ppvae.diagnostics.checks.subject import Subject, with_error
from ppvae.diagnostics.findings import Finding, graded

_FEW, _MANY = 0.05, 0.5  # share of the datapoints that are not trusted
_NAMED = 5  # datapoints


def refinement(subject: Subject) -> list[Finding]:
    """Refine the posterior of some datapoints: what is trusted then, and what changes."""
    refined = subject.refined
    table, rows = refined.table, refined.table.sizes["data"]
    trusted = int(table.trusted.sum())
    of_guide = int(subject.evidence.trusted.isel(data=slice(rows)).sum())
    mean = refined.summarize().sel(term="log_evidence")
    advice = ""
    if refined.refusals:
        worst, reason = list(refined.refusals)[:_NAMED], next(iter(refined.refusals.values()))
        advice = f"Not trusted: rows {subject.names.shown(worst)}; of the first, {reason}."
    return [
        Finding(
            "refined posteriors",
            graded(1 - trusted / rows, _FEW, _MANY),
            f"{trusted} of {rows} datapoints can be trusted, {of_guide} by the guide's draws; "
            f"log P(X) {with_error(mean)}, {higher(subject, table.log_evidence)}",
            advice,
            {"refinement": table},
            remedy=more_draws(subject, "no posterior that was tried can be trusted"),
        )
    ]
