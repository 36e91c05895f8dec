"""What can be trusted, in words: the part of a page that is read first."""

import math

import numpy as np

from ppvae.diagnostics import Verdict, summarize
from ppvae.reports.page.contents import Fact, Lead, Tone
from ppvae.reports.page.numbers import counted, percent, shown, with_error
from ppvae.reports.page.subject import Subject

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
    gain = step is not None and step.nats is not None and math.isfinite(step.nats)
    reason = "" if step is None else f"{step.reason}{f' ({step.nats:.2f} nats)' * gain}."
    return Lead(
        trust_sentence(subject),
        trust_tone(subject),
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


def trust_sentence(subject: Subject) -> str:
    """Say of how many rows log P(X) can be trusted."""
    formula, rows = subject.formula, subject.rows
    if formula.evidence is None:
        return f"log P(X) was not measured row by row: {formula.refusal}."
    table = formula.refined_table
    terms = formula.evidence if table is None else table
    count, trusted = terms.sizes["data"], int(terms.trusted.sum())
    share = f" ({percent(trusted / count)})" if count else ""
    some = f"{trusted:,} of {count:,} {rows}{share}"
    if table is None:
        return f"log P(X) can be trusted for {some}."
    if formula.whole is not None:
        return f"log P(X) can be trusted for {some}, after their posteriors were refined."
    return (
        f"log P(X) can be trusted for {some} whose posteriors were refined; "
        f"there are {len(subject.batch[0]):,}."
    )


def alarm_sentence(subject: Subject) -> str:
    """Say how many findings are alarms, and which."""
    found, rate = subject.found, "An exact pair gets none in at least 95 of 100 runs."
    checked = f"{counted(found.datapoints, 'datapoint')}, {found.level}"
    if not found.alarms:
        asked = sum(f.verdict is not Verdict.UNKNOWN for f in found.findings)
        return f"No alarm in {counted(asked, 'finding')} of `diagnose` ({checked}). {rate}"
    bad = [finding.name for finding in found.alarms if finding.verdict is Verdict.BAD]
    look = [finding.name for finding in found.alarms if finding.verdict is Verdict.LOOK]
    named = [
        f"{verdict}: {', '.join(names)}"
        for verdict, names in (("bad", bad), ("worth a look", look))
        if names
    ]
    count = counted(len(found.alarms), "alarm")
    return f"{count} in {counted(len(found.findings), 'finding')} of `diagnose` ({checked}) - " + (
        f"{'; '.join(named)}. {rate}"
    )


def _beside_trust(subject: Subject) -> list[str]:
    """Say what the guide alone would have said, and why some rows are not trusted."""
    formula = subject.formula
    lines = []
    if formula.evidence is not None and formula.refined is not None:
        alone = int(formula.evidence.trusted.sum())
        by = ", ".join(f"{name} {count}" for name, count in formula.refined.levels.items())
        served = f" Levels that served the trusted rows: {by}." if by else ""
        lines.append(
            f"With the guide's own draws alone it would be {alone:,} of "
            f"{formula.evidence.sizes['data']:,}.{served}"
        )
        if formula.refined.choice:
            lines.append(f"Refined were {formula.refined.choice}.")
    if formula.unrefined:
        lines.append(f"Posteriors were not refined: {formula.unrefined}.")
    return lines


def _facts(subject: Subject) -> list[Fact]:
    formula = subject.formula
    if formula.evidence is None:
        return []
    summary = formula.summary()
    facts = []
    if formula.refined_table is not None and formula.whole is None:
        kept = formula.refined_table.isel(data=formula.refined_table.trusted.values)
        if kept.sizes["data"]:
            best = summarize(kept).sel(term="log_evidence")
            value = with_error(float(best["mean"]), float(best.standard_error))
            rows = counted(kept.sizes["data"], "trusted row")
            facts.append(Fact("log P(X), refined", value, f"nats, {rows}"))
    names = (
        ("log_evidence", "log P(X)" if not facts else "log P(X), guide's draws"),
        ("elbo", "ELBO"),
        ("posterior_kl", "the guide misses"),
        ("kl", "KL to the prior"),
    )
    for term, name in names:
        values = summary.sel(term=term)
        text = with_error(float(values["mean"]), float(values.standard_error))
        unknown = np.isinf(float(values.monte_carlo_error))
        note = "nats; a lower bound, draws do not tell its error" if unknown else "nats a row"
        if unknown and term == "posterior_kl":
            note = "nats at least"
        facts.append(Fact(name, text, note))
    if formula.whole is None and formula.refined_table is None:
        k = formula.evidence.pooled_k.values
        if np.isfinite(k).any():
            facts.append(Fact("Pareto k, median", shown(float(np.nanmedian(k))), "of the weights"))
    return facts
