"""The page about several runs: which is best, by how much, and in what they differ."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import yaml
from matplotlib.figure import Figure
from torch import nn

from ppvae import answers, diagnostics
from ppvae.data import Dataset
from ppvae.data.plain_yaml import PlainLoader
from ppvae.diagnostics import Effort
from ppvae.reports import plots
from ppvae.reports.page.contents import Block, Cell, Code, Lead, Page, Section, Table, Text
from ppvae.reports.page.evidence import FORMULA
from ppvae.reports.page.findings import grades
from ppvae.reports.page.measuring import subject_of_run
from ppvae.reports.page.numbers import cell, percent, shown, with_error
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject
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
    if unreliable:
        more.append(
            f"The guides of {', '.join(unreliable)} are too far from the posterior for these "
            "draws, so that their log P(X) is likely too low here; refine them before you decide."
        )
    lead = Lead(sentence, "look" if unreliable else "fine", tuple(more))
    sections = [
        _scores(found, len(rows), split),
        _terms(subjects),
        _verdicts(subjects),
        _trainings(subjects),
        _configurations(subjects),
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
    return f"N{said[1:]}" if said.startswith("none is best") else said


def _scores(found: xr.Dataset, rows: int, split: str) -> Section:
    order = np.argsort(-found["mean"].values, kind="stable")
    lines = []
    for place in order.tolist():
        each = found.isel(model=place)
        best = float(each.difference) == 0
        p_value = float(each.difference_p_value)
        lines.append(
            (
                Cell(str(each.model.item())),
                cell(float(each["mean"])),
                cell(float(each.data_error)),
                cell(float(each.difference)),
                Cell("-") if best else cell(float(each.difference_data_error)),
                Cell("-") if best else Cell(f"{p_value:.2g}", p_value),
                cell(float(each.stacking_weight)),
                Cell(percent(float(each.unreliable_share)), float(each.unreliable_share)),
            )
        )
    columns = (
        "run",
        "log P(X)",
        "standard error",
        "difference to the best",
        "its standard error",
        "p",
        "stacking weight",
        "k too large",
    )
    note = (
        "Differences are paired: of the same rows under two runs. p is the probability of so large "
        "a difference if all runs are equally good. Stacking weights are those of the best average "
        "of the runs' densities."
    )
    caption = f"log P(X) of {rows:,} {split} rows, in nats per row, the best run first"
    texts = [
        f"{each[0].text} {each[3].text} ± {each[4].text}" for each in lines if each[4].text != "-"
    ]
    picture = picture_of(
        _differences(found, order.tolist()),
        f"Differences of log P(X) to the best run, {lines[0][0].text}: {'; '.join(texts)} nats",
        "Differences to the best run, with two standard errors. A line that crosses 0 is no "
        "difference that these rows show.",
    )
    return Section(
        "scores", "Which predicts best", [picture, Table(caption, columns, tuple(lines), note)]
    )


def _differences(found: xr.Dataset, order: list[int]) -> Figure:
    figure = Figure(figsize=(8, 0.9 + 0.42 * len(order)), layout="constrained")
    axes = figure.subplots()
    for row, place in enumerate(order):
        each = found.isel(model=place)
        error = float(each.difference_data_error)
        bars = {"xerr": 2 * error} if np.isfinite(error) else {}
        axes.errorbar(float(each.difference), -row, fmt="o", color="#0072B2", capsize=3, **bars)
    axes.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    names = [str(found.model.values[place]) for place in order]
    axes.set_yticks(
        [-row for row in range(len(order))],
        [f"...{n[-30:]}" if len(n) > 33 else n for n in names],
        parse_math=False,
    )
    axes.set_ylim(0.6 - len(order), 0.6)
    axes.set_xlabel("nats per row, below the best run")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _terms(subjects: Mapping[str, Subject]) -> Section:
    blocks: list[Block] = [Text(f"`{FORMULA}`")]
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


def _trainings(subjects: Mapping[str, Subject]) -> Section:
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    said = []
    for index, (name, subject) in enumerate(subjects.items()):
        history = subject.history
        values = None if history is None else history.get("validation_elbo")
        if values is None or not np.isfinite(values).any():
            continue
        label = f"...{name[-30:]}" if len(name) > 33 else name
        (line,) = axes.plot(values.step, values, **plots.styles.line_style(index), linewidth=1.3)
        line.set_label(label.lstrip("_") or "run")
        best = float(np.nanmax(values))
        said.append(f"{name} reaches {shown(best)}")
    if not said:
        text = "None of the runs has evaluations of its training."
        return Section("training", "Training", [Text(text)])
    curves = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    low, high = np.nanquantile(curves, [0.05, 1.0])
    axes.set_ylim(low - 0.05 * (high - low or 1), high + 0.05 * (high - low or 1))
    axes.set_xlabel("step")
    axes.set_ylabel("validation ELBO, nats per row")
    axes.legend(frameon=False, loc="lower right")
    for text in axes.get_legend().get_texts():  # type: ignore[union-attr]
        text.set_parse_math(False)
    axes.spines[["top", "right"]].set_visible(False)
    picture = picture_of(
        figure,
        f"The validation ELBO over the steps of each training: {'; '.join(said)}",
        "The validation ELBO of each run. The first steep rise is cut off.",
    )
    return Section("training", "Training", [picture])


def _configurations(subjects: Mapping[str, Subject]) -> Section:
    flat = {name: _flat(_options(subject)) for name, subject in subjects.items()}
    keys = list(dict.fromkeys(key for each in flat.values() for key in each))
    differing = [key for key in keys if len({each.get(key, "-") for each in flat.values()}) > 1]
    if not differing:
        text = "The configurations are the same, the weights may differ."
        return Section("configuration", "In what the runs differ", [Text(text)])
    rows = tuple(
        (Cell(key), *(Cell(each.get(key, "-")) for each in flat.values())) for key in differing
    )
    table = Table("Options that differ", ("option", *subjects), rows, prose=True)
    return Section("configuration", "In what the runs differ", [table])


def _options(subject: Subject) -> Any:
    try:
        return yaml.load(subject.configuration, Loader=PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {"config.yaml": subject.configuration}


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return nested options as one level, with dotted names."""
    if not isinstance(value, dict):
        return {name or "-": str(value)}
    found: dict[str, str] = {}
    for key, each in value.items():
        short = {"class_path": "", "init_args": ""}.get(str(key), str(key))
        found |= _flat(each, ".".join(part for part in (name, short) if part))
    return found


def _again(subjects: Mapping[str, Subject], split: str, seed: int) -> Section:
    import shlex

    runs = " ".join(shlex.quote(str(subject.run)) for subject in subjects.values())
    lines = [
        f"ppvae fit --config {shlex.quote(str(s.run))}/config.yaml" for s in subjects.values()
    ]
    lines.append(f"ppvae report {runs} --split {split} --seed {seed}")
    sources = [
        Text(f"{name}: {' '.join(each.sources)}", quiet=True) for name, each in subjects.items()
    ]
    return Section("reproduce", "How to reproduce", [Code("\n".join(lines), "Commands"), *sources])
