"""All that `diagnose` found, and what was not asked and why."""

from collections.abc import Iterable

from ppvae.diagnostics import Finding
from ppvae.diagnostics import Verdict as Grade
from ppvae.reports.page.calibration import standard_call
from ppvae.reports.page.contents import Block, Code, Listing, Section, Text, Verdict, Verdicts
from ppvae.reports.page.numbers import capital, p_value
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table
from ppvae.reports.page.verdict import TONES, alarm_sentence

_ORDER = (Grade.BAD, Grade.LOOK, Grade.UNKNOWN, Grade.FINE)
_WORDS = {Grade.UNKNOWN: "not known"}


def findings_section(subject: Subject) -> Section:
    """Return every finding with its verdict, the alarms first."""
    ranked = sorted(subject.found.findings, key=lambda finding: _ORDER.index(finding.verdict))
    shown = tuple(_shown(finding, subject.run) for finding in ranked)
    blocks: list[Block] = [Text(alarm_sentence(subject)), Verdicts(shown)]
    return Section("findings", "Findings", blocks)


def left_section(subject: Subject) -> Section:
    """Return the checks that were not run, with the reason."""
    rows = tuple(
        (Cell(name), Cell(f"needs {reason}" if reason.startswith("level") else reason))
        for name, reason in subject.found.left.items()
    )
    blocks: list[Block] = [Table("Checks that were not run", ("check", "why"), rows)]
    if any(reason == "level standard" for reason in subject.found.left.values()):
        blocks += [
            Text("Those of level standard run by:"),
            Code(standard_call(subject), "The call"),
        ]
    return Section("not-asked", "What was not asked", blocks)


def next_section(subject: Subject) -> Section:
    """Return what helps against each alarm, what helps most first."""
    found = subject.found
    steps = [found.next_step, *(finding.remedy for finding in found.alarms)]
    calls = {"\n".join(step.lines(subject.run)): step.reason for step in steps if step is not None}
    blocks: list[Block] = []
    for place, (call, reason) in enumerate(calls.items(), 1):
        blocks += [Text(f"{reason[:1].upper()}{reason[1:]}."), Code(call, f"Step {place}")]
    if not blocks:
        blocks.append(Text("No alarm asks for anything. What one may still do:"))
        uses = (
            (
                "`ppvae score {}` ranks rows as anomalies.",
                "`ppvae.answers.score(pair, data)` ranks rows as anomalies.",
            ),
            (
                "`ppvae compare {} OTHER` says which of two runs predicts better.",
                "`ppvae.diagnostics.compare` says which of several pairs predicts better.",
            ),
        )
        items = [b if subject.run is None else a.format(subject.run) for a, b in uses]
        blocks.append(Listing(tuple(items)))
    return Section("next", "Next steps", blocks)


def _shown(finding: Finding, run: str | None) -> Verdict:
    alarm = finding.verdict in (Grade.LOOK, Grade.BAD)
    advice = "" if finding.verdict is Grade.FINE else finding.advice
    answer = capital(finding.answer.replace(" +- ", " ± "))
    if finding.p_value is not None:
        answer = f"{answer.rstrip('.')} ({p_value(finding.p_value)})"
    code = ""
    if alarm and finding.remedy is not None:
        code = "\n".join(finding.remedy.lines(run))
    word = _WORDS.get(finding.verdict, finding.verdict.value)
    return Verdict(finding.name, word, TONES[finding.verdict], answer, advice, code)


def grades(findings: Iterable[Finding]) -> dict[str, Grade]:
    """Return the worst verdict of each check, by its name."""
    found: dict[str, Grade] = {}
    for finding in sorted(findings, key=lambda each: -_ORDER.index(each.verdict)):
        found[finding.name] = finding.verdict
    return found
