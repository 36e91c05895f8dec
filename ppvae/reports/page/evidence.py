"""Formula (2) on a page: both sides as a picture, and as a table with errors."""

import numpy as np

from ppvae import diagnostics
from ppvae.reports import plots
from ppvae.reports.page.contents import Block, Cell, Section, Table, Text
from ppvae.reports.page.numbers import cell, counted, shown
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject

FORMULA = "log P(X) - KL[Q(z|X) || P(z|X)] = E_Q[log P(X|z)] - KL[Q(z|X) || P(z)]"
_TERMS = (
    ("reconstruction", "E_Q[log P(X|z)]", "how well rows are reconstructed"),
    ("kl", "KL[Q(z|X) || P(z)]", "what the latents say about a row"),
    ("elbo", "ELBO", "their difference; training raises it"),
    ("log_evidence", "log P(X)", "how probable rows are under the model"),
    ("posterior_kl", "KL[Q(z|X) || P(z|X)]", "how far the guide is from the posterior"),
)


def formula_section(subject: Subject) -> Section:
    """Return formula (2), its picture and its terms."""
    blocks: list[Block] = [
        Text(f"`{FORMULA}`"),
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
    summary = formula.summary()
    caption = (
        "Both sides end at the same ELBO. What the left side loses to the KL divergence a better "
        "guide could still gain; a better model changes log P(X)."
    )
    blocks.append(picture_of(plots.evidence_bars(summary), caption, subject.source))
    blocks.append(_terms_table(subject))
    if "gaps" in subject.results:
        blocks += _gaps(subject)
    return Section("formula", "Formula (2)", blocks)


def _terms_table(subject: Subject) -> Table:
    formula = subject.formula
    assert formula.evidence is not None
    own = diagnostics.summarize(formula.evidence)
    better = None if formula.refined_table is None else formula.refined_table
    refined = None if better is None else diagnostics.summarize(better)
    rows = []
    for name, label, meaning in _TERMS:
        values, by = own.sel(term=name), "guide's draws"
        if refined is not None and name in ("log_evidence", "posterior_kl"):
            values, by = refined.sel(term=name), "refined posteriors"
            if formula.whole is None:
                assert better is not None
                by += f", {counted(better.sizes['data'], 'row')}"
        drawn = float(values.monte_carlo_error)
        rows.append(
            (
                Cell(label),
                cell(float(values["mean"])),
                cell(float(values.standard_error)),
                Cell("unknown" if np.isinf(drawn) else shown(drawn, 3), drawn),
                Cell(by),
                Cell(meaning),
            )
        )
    size = float(np.nanmedian(formula.evidence.effective_sample_size))
    draws = int(own.attrs["draws"])
    note = (
        "The standard error is for statements about new rows; the error from draws is the part "
        "that more draws would reduce, and is unknown where the weights have no finite variance. "
        f"Effective draws of the guide: {size:.0f} of {draws:,} (median)."
    )
    columns = ("term", "mean", "standard error", "error from draws", "measured by", "what it is")
    caption = f"The terms of formula (2), in nats per row, of {_rows(subject)}"
    return Table(caption, columns, tuple(rows), note)


def _gaps(subject: Subject) -> list[Block]:
    summary = diagnostics.summarize(subject.results["gaps"])
    caption = (
        "Where the gap comes from. What is due to the family needs a richer posterior; what is "
        "due to the encoder needs a larger network, longer training or refined posteriors."
    )
    return [picture_of(plots.gap_bars(summary), caption, subject.source)]


def _rows(subject: Subject) -> str:
    return f"{len(subject.batch[0]):,} {subject.rows}"
