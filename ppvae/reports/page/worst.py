"""The worst rows: which they are, why they are here, and what they hold."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ppvae import diagnostics
from ppvae.diagnostics.names import NamedBatch, named_batch
from ppvae.engine import Unsupported, raised_in_pair
from ppvae.reports.page.contents import Block, Section, Text
from ppvae.reports.page.numbers import capital, cell, percent
from ppvae.reports.page.refusals import reason_of
from ppvae.reports.page.rows import thumbnails_of, values_of, values_table
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table
from ppvae.reports.page.unusual import unusual_cells

_LOWEST, _HEAVIEST, _FAILED = 8, 4, 3  # rows of the lowest log P(X), the largest k, without
_DRAWS, _REFERENCE = 100, 1000  # of the outlier score


def worst_section(subject: Subject) -> Section:
    """Return the rows of the lowest log P(X), those of the largest k, those the pair fails on."""
    title = "Worst rows"
    if subject.formula.evidence is None:
        text = f"Rows are not ranked: {subject.formula.refusal}."
        return Section("worst", title, [Text(text)])
    by_row = _with_lowest_refined(subject)
    reasons = _chosen(subject, by_row)
    if not reasons:
        return Section("worst", title, [Text("There are no rows.")])
    places = list(reasons)
    scores, why_not = _outlier_scores(subject, places)
    blocks: list[Block] = [
        Text(
            "The rows of the lowest log P(X), and those whose weights have the heaviest tails. A "
            "low log P(X) is unusual, or badly modeled; a row that is not trusted may be better "
            "than its number says.",
            quiet=True,
        ),
        _table(subject, by_row, reasons, scores),
    ]
    if why_not:
        blocks.append(Text(f"There is no outlier score: {why_not}.", quiet=True))
    if subject.dataset is not None and subject.dataset.image_shape is None:
        table = values_table(subject.dataset, subject.split, places, _names(subject, places))
        blocks += [] if table is None else [table]
    return Section("worst", title, blocks)


def _with_lowest_refined(subject: Subject) -> xr.Dataset:
    """Return log P(X), k and trust of each row, refined too where the guide's is lowest.

    Only where some rows were refined: then time was given for it, and the few more take little.
    """
    by_row = subject.formula.by_row()
    if subject.formula.refined is None:
        return by_row
    log_p = np.where(by_row.refined, np.inf, by_row.log_evidence)
    lowest = np.argsort(log_p, kind="stable")[: 2 * _LOWEST]
    places = lowest[np.isfinite(log_p[lowest])]
    if not len(places):
        return by_row
    draws = int(subject.formula.refined.table.attrs["draws"])
    try:
        found = diagnostics.refine(
            subject.pair,
            _at(subject.batch, places.tolist()),
            draws=draws,
            seed=subject.seed,
            progress=False,
        ).table
    except Exception as error:
        if not isinstance(error, Unsupported) and raised_in_pair(error) is None:
            raise
        return by_row
    names = {"k": "pareto_k"}
    for name in ("log_evidence", "log_evidence_error", "k", "trusted"):
        by_row[name].values[places] = found[names.get(name, name)].values
    by_row.refined.values[places] = True
    return by_row


def _chosen(subject: Subject, by_row: xr.Dataset) -> dict[int, list[str]]:
    """Return the places of the worst rows with the reasons why they are here."""
    log_p, k, trusted = (by_row[name].values for name in ("log_evidence", "k", "trusted"))
    threshold = float(subject.formula.evidence.threshold)  # type: ignore[union-attr]
    median = float(np.nanmedian(log_p)) if np.isfinite(log_p).any() else 0.0
    reasons: dict[int, list[str]] = {}
    for place in np.flatnonzero(np.isnan(log_p))[:_FAILED].tolist():
        reasons[place] = ["the pair cannot be run on it"]
    lowest = np.argsort(log_p, kind="stable")[: min(_LOWEST, int((~np.isnan(log_p)).sum()))]
    for place in lowest.tolist():
        below = median - log_p[place]
        far = f"{below:.1f} nats below the median" if np.isfinite(below) else "log P(X) not finite"
        reasons[place] = [far]
    # Of some that were refined, a row that was not has only the guide's k.
    asked = by_row.refined.values if by_row.refined.any() else np.ones_like(trusted)
    heavy = np.argsort(np.where(np.isnan(k) | trusted | ~asked, np.inf, -k), kind="stable")
    for place in heavy[:_HEAVIEST].tolist():
        if asked[place] and not trusted[place] and k[place] > threshold:
            reasons.setdefault(place, []).append("k is one of the largest")
    refused = {} if subject.formula.refined is None else subject.formula.refined.reasons
    for place, found in reasons.items():
        name = _shown_name(subject, place)
        if name in refused:
            found.append(f"not trusted: {refused[name]}")
    return reasons


def _table(
    subject: Subject,
    by_row: xr.Dataset,
    reasons: dict[int, list[str]],
    scores: NDArray[np.float64] | None,
) -> Table:
    places = list(reasons)
    names = _names(subject, places)
    pictures = thumbnails_of(subject, places, names)
    unusual = _unusual(subject, places)
    classes = by_row.label.values if "label" in by_row.coords else None
    columns = ["row"]
    columns += ["picture"] * (pictures is not None) + ["class"] * (classes is not None)
    columns += ["log P(X)", "Pareto k", "trusted"] + ["outlier p"] * (scores is not None)
    columns += ["why it is here"]
    rows = []
    for number, place in enumerate(places):
        terms = by_row.isel(data=place)
        trusted = bool(terms.trusted)
        cells = [Cell(names[number])]
        if pictures is not None:
            cells.append(Cell("", thumbnails=pictures[number]))
        if classes is not None:
            cells.append(Cell(str(classes[place])))
        cells += [
            cell(float(terms.log_evidence)),
            cell(float(terms.k)),
            Cell("yes" if trusted else "no", tone="fine" if trusted else "bad"),
        ]
        if scores is not None:
            cells.append(cell(float(scores[number]), 3))
        reason = "; ".join(reasons[place])
        if unusual is not None and unusual[number]:
            reason = f"{reason}. Unusual: {unusual[number]}"
        cells.append(Cell(capital(reason)))
        rows.append(tuple(cells))
    note = "log P(X) in nats."
    if scores is not None:
        note += (
            " The outlier p is small where few validation rows have so low a log P(X); for a row "
            "of the same source it is uniform."
        )
    if subject.formula.refined is not None and not bool(by_row.refined.all()):
        share = percent(float(by_row.refined.values.mean()))
        note += f" {share} of all rows were refined; the others have the numbers of the guide."
    caption = f"The {len(rows)} worst of {by_row.sizes['data']:,} {subject.rows}"
    return Table(caption, tuple(columns), tuple(rows), note)


def _outlier_scores(
    subject: Subject, places: Sequence[int]
) -> tuple[NDArray[np.float64] | None, str]:
    """Return the p-values of rows among validation rows, or why there are none."""
    dataset = subject.dataset
    if dataset is None or subject.split != "test":
        return None, "it compares test rows of a dataset with its validation rows"
    if not len(dataset.validation):
        return None, "the dataset has no validation rows"
    reference = named_batch(dataset, "validation")
    first = tuple(part[:_REFERENCE] for part in reference)
    try:
        scores = diagnostics.outlier_score(
            subject.pair,
            _at(subject.batch, places),
            reference=first,
            draws=_DRAWS,
            seed=subject.seed,
        )
    except Exception as error:
        return None, reason_of(error)
    return scores.p_value.values, ""


def _unusual(subject: Subject, places: Sequence[int]) -> list[str] | None:
    """Return the unusual cells of each row, of data whose features have names."""
    dataset = subject.dataset
    if dataset is None or dataset.image_shape is not None or not dataset.columns:
        return None
    return unusual_cells(dataset, *values_of(dataset, subject.split, places))


def _names(subject: Subject, places: Sequence[int]) -> list[str]:
    return [_shown_name(subject, place) for place in places]


def _shown_name(subject: Subject, place: int) -> str:
    return subject.batch.names.shown([place])


def _at(batch: NamedBatch, places: Sequence[int]) -> Any:
    return tuple(part[list(places)] for part in batch)
