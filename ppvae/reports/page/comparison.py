"""The page about several runs: which is best, by how much, and in what they differ."""

import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from ppvae import answers, diagnostics
from ppvae.data import Dataset
from ppvae.diagnostics import Effort
from ppvae.reports.page.contents import Block, Code, Formula, Lead, Page, Section, Text
from ppvae.reports.page.differing_options import options_section
from ppvae.reports.page.findings import grades
from ppvae.reports.page.measuring import subject_of_run
from ppvae.reports.page.numbers import cell, percent, with_error
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.side_by_side import differences_figure, trainings_section
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.tables import Cell, Table
from ppvae.reports.page.verdict import TONES, alarm_sentence, trust_sentence, trust_tone
from ppvae.reports.run_folder import Run

_TERMS = ("reconstruction", "kl", "elbo", "log_evidence", "posterior_kl")


def comparison_page(
    opened: Mapping[str, tuple[Run, Dataset, nn.Module]],
    *,
    split: str,
    effort: Effort | None,
    draws: int,
    refine_seconds: float,
    seed: int,
) -> Page:
    """Return the page about several runs of the same data.

    Raises:
        Unsupported: if they are of different data or splits.
    """
    answers.check_same_data({name: dataset for name, (_, dataset, _) in opened.items()})
    pairs = {name: pair for name, (_, _, pair) in opened.items()}
    first = next(iter(opened.values()))[1]
    rows = answers.rows_of(first, split)
    found = diagnostics.compare(pairs, rows.batch, draws=draws, seed=seed)
    options: dict[str, Any] = {
        "split": split,
        "effort": effort,
        "draws": draws,
        "refine_seconds": refine_seconds,
        "seed": seed,
    }
    subjects = {
        name: subject_of_run(run, pair, dataset, **options)
        for name, (run, dataset, pair) in opened.items()
    }
    sentence = f"{_sentence(found)}."
    unreliable = [str(name) for name in found.model.values[found.unreliable.values]]
    more = [f"{name}: {trust_sentence(each)}" for name, each in subjects.items()]
    step, code = "", ""
    if unreliable:
        more.append(
            f"The guide of {', '.join(unreliable)} is too far from the posterior for these draws, "
            "so that its log P(X) is likely too low in this comparison."
        )
        step = "compare with more draws, or train with a richer posterior."
        code = f"ppvae report {_folders(subjects)} --split {split} --draws {10 * draws}"
    lead = Lead(sentence, "look" if unreliable else "fine", tuple(more), step, code)
    sections = [
        _scores(found, len(rows), split),
        _terms(subjects),
        _verdicts(subjects),
        trainings_section(subjects),
        options_section(subjects),
        _again(subjects, split, seed),
    ]
    return Page(
        f"{len(opened)} runs of {first.name}, compared",
        f"Which predicts held-out rows best? Measured on {len(rows):,} {split} rows.",
        lead,
        sections,
    )


def _sentence(found: xr.Dataset) -> str:
    """Say which run is best, or that none is."""
    import pandas

    table = pandas.DataFrame(
        {
            "run": found.model.values,
            "difference": found.difference.values,
            "difference_error": found.difference_data_error.values,
            "p_value": found.difference_p_value.values,
        }
    )
    said = answers.verdict(table.sort_values("difference", ascending=False, ignore_index=True))
    said = said.replace(" +- ", " ± ")
    return f"N{said[1:]}" if said.startswith("none is best") else said


def _scores(found: xr.Dataset, rows: int, split: str) -> Section:
    order = np.argsort(-found["mean"].values, kind="stable")
    lines = []
    for place in order.tolist():
        each = found.isel(model=place)
        best = float(each.difference) == 0
        p_value = float(each.difference_p_value)
        mean, apart = float(each["mean"]), float(each.difference)
        error = float(each.difference_data_error)
        lines.append(
            (
                Cell(str(each.model.item())),
                Cell(with_error(mean, float(each.data_error)), mean),
                Cell("the best" if best else with_error(apart, error), apart),
                Cell("-") if best else Cell(f"{p_value:.2g}", p_value),
                cell(float(each.stacking_weight)),
                Cell(percent(float(each.unreliable_share)), float(each.unreliable_share)),
            )
        )
    columns = ("run", "log P(X)", "difference", "p", "stacking weight", "k too large")
    note = (
        "Means with standard errors. Differences are paired: of the same rows under two runs. p "
        "is the probability of so large a difference if all runs are equally good. Stacking "
        "weights are those of the best average of the runs' densities."
    )
    caption = f"log P(X) of {rows:,} {split} rows, in nats per row, the best run first"
    picture = picture_of(
        differences_figure(found, order.tolist()),
        "Differences to the best run, with two standard errors. A line that crosses 0 is no "
        "difference that these rows show.",
    )
    return Section(
        "scores", "Which predicts best", [picture, Table(caption, columns, tuple(lines), note)]
    )


def _terms(subjects: Mapping[str, Subject]) -> Section:
    blocks: list[Block] = [Formula()]
    rows = []
    for name, subject in subjects.items():
        if subject.formula.evidence is None:
            rows.append((Cell(name), *(Cell("-") for _ in _TERMS)))
            continue
        summary = subject.formula.summary()
        cells = []
        for term in _TERMS:
            values = summary.sel(term=term)
            mean, error = float(values["mean"]), float(values.standard_error)
            cells.append(Cell(with_error(mean, error), mean))
        rows.append((Cell(name), *cells))
    columns = (
        "run",
        "E_Q[log P(X|z)]",
        "KL[Q(z|X) || P(z)]",
        "ELBO",
        "log P(X)",
        "KL[Q(z|X) || P(z|X)]",
    )
    caption = "The terms of formula (2), in nats per row"
    note = "log P(X) is that of refined posteriors where all rows of a run were refined."
    blocks.append(Table(caption, columns, tuple(rows), note))
    return Section("formula", "Formula (2)", blocks)


def _verdicts(subjects: Mapping[str, Subject]) -> Section:
    graded = {name: grades(subject.found.findings) for name, subject in subjects.items()}
    checks = list(dict.fromkeys(check for each in graded.values() for check in each))
    trust = (
        Cell("log P(X) is trusted"),
        *(Cell(_trusted(subject), tone=trust_tone(subject)) for subject in subjects.values()),
    )
    rows = [trust]
    for check in checks:
        cells = []
        for each in graded.values():
            verdict = each.get(check)
            cells.append(
                Cell("-") if verdict is None else Cell(verdict.value, tone=TONES[verdict])
            )
        rows.append((Cell(check), *cells))
    table = Table("What each check found", ("check", *subjects), tuple(rows))
    texts = [
        Text(f"{name}: {alarm_sentence(each)}", quiet=True) for name, each in subjects.items()
    ]
    return Section("findings", "Findings", [table, *texts])


def _trusted(subject: Subject) -> str:
    if subject.formula.evidence is None:
        return "not measured"
    table = subject.formula.refined_table
    trusted = (subject.formula.evidence if table is None else table).trusted
    return f"{int(trusted.sum()):,} of {trusted.size:,} rows"


def _again(subjects: Mapping[str, Subject], split: str, seed: int) -> Section:
    lines = [
        f"ppvae fit --config {shlex.quote(str(s.run))}/config.yaml" for s in subjects.values()
    ]
    lines.append(f"ppvae report {_folders(subjects)} --split {split} --seed {seed}")
    sources = [
        Text(f"{name}: {' '.join(each.sources)}", quiet=True) for name, each in subjects.items()
    ]
    return Section("reproduce", "How to reproduce", [Code("\n".join(lines), "Commands"), *sources])


def _folders(subjects: Mapping[str, Subject]) -> str:
    return " ".join(shlex.quote(str(subject.run)) for subject in subjects.values())
