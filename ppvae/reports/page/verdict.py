"""What can be trusted, in words: the part of a page that is read first."""

import math

import numpy as np

from ppvae.diagnostics import Verdict
from ppvae.reports.page.contents import Fact, Lead
from ppvae.reports.page.numbers import capital, counted, percent, shown
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Tone

TONES: dict[Verdict, Tone] = {
    Verdict.FINE: "fine",
    Verdict.LOOK: "look",
    Verdict.BAD: "bad",
    Verdict.UNKNOWN: "unknown",
}
_MOST, _FEW = 0.95, 0.5  # shares of trusted rows


def lead_of(subject: Subject) -> Lead:
    """Return the verdict: the share of rows whose log P(X) is trusted, alarms, the next step."""
    step = subject.found.next_step
    nats = None if step is None else step.nats
    gain = "" if nats is None or not math.isfinite(nats) else f" ({nats:.2f} nats)"
    reason = "" if step is None else f"{step.reason}{gain}."
    return Lead(
        trust_sentence(subject),
        _lead_tone(subject),
        (*_beside_trust(subject), alarm_sentence(subject)),
        reason,
        "" if step is None else "\n".join(step.lines(subject.run)),
        tuple(_facts(subject)),
    )


def trusted_share(subject: Subject) -> float | None:
    """Return the share of rows whose log P(X) is trusted, of those that were refined if any."""
    if subject.formula.evidence is None:
        return None
    table = subject.formula.refined_table
    trusted = subject.formula.evidence.trusted if table is None else table.trusted
    return float(np.mean(trusted.values)) if trusted.size else None


def trust_tone(subject: Subject) -> Tone:
    """Return the colour of that share."""
    share = trusted_share(subject)
    if share is None:
        return "unknown"
    return "fine" if share >= _MOST else "look" if share >= _FEW else "bad"


def _lead_tone(subject: Subject) -> Tone:
    """Return the colour of the verdict: an alarm is worth a look, whatever is trusted."""
    tone = trust_tone(subject)
    return "look" if tone == "fine" and subject.found.alarms else tone


def trust_sentence(subject: Subject) -> str:
    """Say of how many rows log P(X) can be trusted."""
    formula, rows = subject.formula, subject.rows
    if formula.evidence is None:
        return f"log P(X) was not measured row by row: {formula.refusal}."
    table = formula.refined_table
    terms = formula.evidence if table is None else table
    count, trusted = terms.sizes["data"], int(terms.trusted.sum())
    some = f"{trusted:,} of {count:,} {rows} ({percent(trusted / max(count, 1))})"
    if trusted in (0, count):
        named = counted(count, rows.removesuffix("s"))
        every = f"all {named}" if count > 1 else f"the {named}"
        some = every if trusted else f"none of {named}"
    if table is None:
        return f"log P(X) can be trusted for {some}."
    if formula.whole is not None:
        return f"log P(X) can be trusted for {some}, after their posteriors were refined."
    posteriors = "posteriors were" if count > 1 else "posterior was"
    return f"log P(X) can be trusted for {some} whose {posteriors} refined."


def alarm_sentence(subject: Subject) -> str:
    """Say how many findings are alarms, and which."""
    found, rate = subject.found, "An exact pair gets none in at least 95 of 100 runs."
    checked = f"{counted(found.datapoints, 'datapoint')}, {found.level}"
    if not found.alarms:
        asked = sum(f.verdict is not Verdict.UNKNOWN for f in found.findings)
        return f"No alarm in {counted(asked, 'finding')} of `diagnose` ({checked}). {rate}"
    named = []
    for verdict, words in ((Verdict.BAD, "bad"), (Verdict.LOOK, "worth a look")):
        names = [finding.name for finding in found.alarms if finding.verdict is verdict]
        if names:
            named.append(f"{words}: {', '.join(names)}")
    count = counted(len(found.alarms), "alarm")
    return (
        f"{count} in {counted(len(found.findings), 'finding')} of `diagnose` ({checked}). "
        f"{capital('; '.join(named))}. {rate}"
    )


def _beside_trust(subject: Subject) -> list[str]:
    """Say what the guide alone would have said, and why some rows are not trusted."""
    formula = subject.formula
    lines = []
    if formula.evidence is not None and formula.refined is not None:
        alone = int(formula.evidence.trusted.sum())
        by = ", ".join(f"{name} {count}" for name, count in formula.refined.levels.items())
        some = f"{alone:,}" if alone else "none"
        choice = f"Refined were {formula.refined.choice}. " if formula.refined.choice else ""
        served = f" The rows that are trusted now were served by: {by}." if by else ""
        lines.append(
            f"{choice}With the guide's own draws alone it would be {some} of "
            f"{formula.evidence.sizes['data']:,}.{served}"
        )
    if formula.unrefined:
        lines.append(f"Posteriors were not refined: {formula.unrefined}.")
    return lines


def _facts(subject: Subject) -> list[Fact]:
    formula = subject.formula
    if formula.evidence is None:
        return []
    summary = formula.refined_summary()
    facts = []
    for term, name in (
        ("log_evidence", "log P(X)"),
        ("elbo", "ELBO"),
        ("posterior_kl", "the guide misses"),
        ("kl", "KL to the prior"),
    ):
        values = summary.sel(term=term)
        error = float(values.standard_error)
        note = f"± {error:.2f} nats" if math.isfinite(error) else "nats"
        if math.isinf(float(values.monte_carlo_error)):
            note += ", at least"
        facts.append(Fact(name, shown(float(values["mean"])), note))
    return facts
