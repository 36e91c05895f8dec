"""Formula (2) on a page: both sides as a picture, and as a table with errors."""

import numpy as np
import xarray as xr

from ppvae import diagnostics
from ppvae.reports import plots
from ppvae.reports.formula_two import TAIL
from ppvae.reports.page.contents import Block, Formula, Section, Text
from ppvae.reports.page.numbers import cell, counted, shown
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table

_TERMS = (
    ("reconstruction", "E_Q[log P(X|z)]", "how well rows are reconstructed"),
    ("kl", "KL[Q(z|X) || P(z)]", "what the latents say about a row"),
    ("elbo", "ELBO", "the difference of these two, which training raises"),
    ("log_evidence", "log P(X)", "how probable rows are under the model"),
    ("posterior_kl", "KL[Q(z|X) || P(z|X)]", "how far the guide is from the posterior"),
)
_REFINED = ("log_evidence", "posterior_kl")


def formula_section(subject: Subject) -> Section:
    """Return formula (2), its picture and its terms."""
    blocks: list[Block] = [
        Formula(),
        Text(
            "Training raises the right side, the ELBO. The left side says what it is worth: "
            "log P(X) is the quality of the model, and the KL divergence beside it is what the "
            "guide misses of the posterior.",
            quiet=True,
        ),
    ]
    formula = subject.formula
    if formula.evidence is None:
        blocks.append(Text(f"The terms were not measured row by row: {formula.refusal}."))
        return Section("formula", "Formula (2)", blocks)
    summary, source = formula.refined_summary(), subject.source
    if formula.refined is not None and formula.whole is None:
        some = counted(formula.refined.table.sizes["data"], "refined row")
        source = f"{source}, of these {some}" if source else some
    caption = (
        "Both sides end at the same ELBO. What the left side loses to the KL divergence a better "
        "guide could still gain; a better model changes log P(X)."
    )
    rows = formula.evidence if formula.refined is None else formula.refined.table
    trusted = rows.trusted if summary.attrs["draws"] >= TAIL else None
    blocks.append(picture_of(plots.evidence_bars(summary, trusted), caption, source))
    blocks.append(_terms_table(subject, summary))
    if "gaps" in subject.results:
        blocks += _gaps(subject)
    return Section("formula", "Formula (2)", blocks)


def _terms_table(subject: Subject, summary: xr.Dataset) -> Table:
    formula = subject.formula
    assert formula.evidence is not None
    refined = formula.refined
    count = len(subject.batch[0]) if refined is None else refined.table.sizes["data"]
    rows = []
    for name, label, meaning in _TERMS:
        by = "refined posteriors" if refined is not None and name in _REFINED else "guide's draws"
        rows.append(_term(label, summary.sel(term=name), meaning, by))
    if refined is not None:
        alone = diagnostics.summarize(refined.guide).sel(term="log_evidence")
        meaning = "what the guide would have said without refinement"
        rows.append(_term("log P(X), guide alone", alone, meaning, "guide's draws"))
    size = float(np.nanmedian(formula.evidence.effective_sample_size))
    draws = int(formula.evidence.attrs["draws"])
    note = (
        "The standard error is for statements about new rows; the error from draws is the part "
        "that more draws would reduce, and is unknown where the weights have no finite variance. "
        f"Effective draws of the guide: {size:.0f} of {draws:,} (median)."
    )
    kind = subject.rows if refined is None else f"refined {subject.rows}"
    columns = ("term", "mean", "standard error", "error from draws", "what it is", "measured by")
    caption = f"The terms of formula (2) in nats, means over {count:,} {kind}"
    return Table(caption, columns, tuple(rows), note)


def _term(label: str, values: xr.Dataset, meaning: str, by: str) -> tuple[Cell, ...]:
    drawn = float(values.monte_carlo_error)
    return (
        Cell(label),
        cell(float(values["mean"])),
        cell(float(values.standard_error)),
        Cell("unknown" if np.isinf(drawn) else shown(drawn, 3), drawn),
        Cell(meaning),
        Cell(by),
    )


def _gaps(subject: Subject) -> list[Block]:
    summary = diagnostics.summarize(subject.results["gaps"])
    caption = (
        "Where the gap comes from. What is due to the family needs a richer posterior; what is "
        "due to the encoder needs a larger network, longer training or refined posteriors."
    )
    return [picture_of(plots.gap_bars(summary), caption, subject.source)]
