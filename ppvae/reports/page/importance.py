"""Whether the importance weights can be trusted, row by row."""

import numpy as np
from numpy.typing import NDArray

from ppvae.reports import plots
from ppvae.reports.formula_two import TAIL
from ppvae.reports.page.contents import Block, Section, Text
from ppvae.reports.page.numbers import percent
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table, Tone


def importance_section(subject: Subject) -> Section:
    """Return Pareto k of each row, and how many rows are in each range."""
    formula = subject.formula
    if formula.evidence is None:
        blocks: list[Block] = [Text(f"There are no weights of single rows: {formula.refusal}.")]
        return Section("weights", "Can the weights be trusted?", blocks)
    draws = int(formula.evidence.attrs["draws"])
    if draws < TAIL:
        text = f"{draws} draws are too few for the tail of the weights; {TAIL} tell something."
        return Section("weights", "Can the weights be trusted?", [Text(text)])
    threshold = float(formula.evidence.threshold)
    by_row = formula.by_row()
    k, log_p = by_row.k.values, by_row.log_evidence.values
    known = ~np.isnan(k) & np.isfinite(log_p)
    refined = formula.refined is not None
    blocks = [
        Text(
            "log P(X) of a row is an average of importance weights p(x, z) / q(z|x). Pareto k "
            f"says how heavy their tail is: up to {threshold:.2f} the average can be trusted with "
            f"these {draws:,} draws; above it, it is most likely too low."
            + " Rows that were refined have the k of their refined posterior."
            * refined,
            quiet=True,
        ),
        picture_of(
            plots.pareto_k(k[known], log_p[known], threshold),
            "Rows above the line have no trusted log P(X): it is most likely too low.",
            subject.source,
        ),
        _ranges(k[known], threshold),
    ]
    return Section("weights", "Can the weights be trusted?", blocks)


def _ranges(k: NDArray[np.float64], threshold: float) -> Table:
    edges = [-np.inf, min(0.5, threshold), threshold, 1.0, np.inf]
    words: tuple[tuple[Tone, str, str], ...] = (
        ("fine", "fine", "log P(X) is trusted, and its error is small"),
        ("fine", "fine", "log P(X) is trusted"),
        ("look", "look", "more draws would help"),
        ("bad", "bad", "more draws do not help: refine, or use a richer posterior"),
    )
    rows = []
    for place, (tone, word, meaning) in enumerate(words):
        low, high = edges[place], edges[place + 1]
        inside = (k <= high) if place == 0 else (k > low) & (k <= high)
        count = int(inside.sum())
        name = f"up to {high:.2f}" if place == 0 else f"{low:.2f} to {high:.2f}"
        name = f"above {low:.2f}" if np.isinf(high) else name
        share = count / max(len(k), 1)
        rows.append(
            (
                Cell(name, place),
                Cell(f"{count:,}", count),
                Cell(percent(share), share),
                Cell(word, tone=tone) if count else Cell("-"),
                Cell(meaning),
            )
        )
    columns = ("k", "rows", "share", "verdict", "what it means")
    return Table("Rows by Pareto k", columns, tuple(rows), sortable=False)
