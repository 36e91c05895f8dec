"""The page about several runs: which is best, by how much, and in what they differ."""

import re
import shlex
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
from ppvae.reports.page.contents import (
    Block,
    Cell,
    Code,
    Formula,
    Lead,
    Page,
    Section,
    Table,
    Text,
)
from ppvae.reports.page.findings import grades
from ppvae.reports.page.measuring import subject_of_run
from ppvae.reports.page.numbers import cell, percent, with_error
from ppvae.reports.page.pictures import picture_of
from ppvae.reports.page.subject import Subject
from ppvae.reports.page.verdict import TONES, alarm_sentence, trust_sentence, trust_tone
from ppvae.reports.plots.sheets import SMALL, plain, sheet
from ppvae.reports.plots.styles import line_style
from ppvae.reports.run_folder import Run

_NAME = 33  # characters of a run in a figure
_CLASS = re.compile(r"^(?:ppvae|torch|pyro)(?:\.\w+)*\.(\w+)$")
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
        "Means with standard errors. Differences are paired: of the same rows under two runs. p is the probability of so "
        "large a difference if all runs are equally good. Stacking weights are those of the best "
        "average of the runs' densities."
    )
    caption = f"log P(X) of {rows:,} {split} rows, in nats per row, the best run first"
    picture = picture_of(
        _differences(found, order.tolist()),
        "Differences to the best run, with two standard errors. A line that crosses 0 is no "
        "difference that these rows show.",
    )
    return Section(
        "scores", "Which predicts best", [picture, Table(caption, columns, tuple(lines), note)]
    )


def _differences(found: xr.Dataset, order: list[int]) -> Figure:
    names = [_short(str(found.model.values[place])) for place in order]
    each = [found.isel(model=place) for place in order]
    values = [float(run.difference) for run in each]
    errors = [float(run.difference_data_error) for run in each]
    texts = [f"{name} {value:.2f}" for name, value in zip(names, values, strict=True)]
    title = f"Differences of log P(X) to the best run, {names[0]}"
    figure = sheet(0.7 + 0.34 * len(order), title, f"{', '.join(texts)} nats per row")
    axes = figure.subplots()
    plain(axes, x="nats per row")
    rows = range(0, -len(order), -1)
    bars = 2 * np.nan_to_num(np.abs(errors))
    axes.errorbar(values, list(rows), xerr=bars, fmt="o", color="#0072B2", capsize=3)
    axes.axvline(0, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_yticks(list(rows), names, parse_math=False)
    axes.set_ylim(0.6 - len(order), 0.6)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _short(name: str) -> str:
    return name if len(name) <= _NAME else f"...{name[3 - _NAME :]}"


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


def _trainings(subjects: Mapping[str, Subject]) -> Section:
    known = {
        name: subject.history.validation_elbo.dropna("step")
        for name, subject in subjects.items()
        if subject.history is not None and "validation_elbo" in subject.history
    }
    curves = {_short(name): curve for name, curve in known.items() if curve.size}
    if not curves:
        text = "None of the runs has evaluations of its training."
        return Section("training", "Training", [Text(text)])
    best = ", ".join(f"{name} reaches {float(c.max()):.2f}" for name, c in curves.items())
    figure = sheet(3.2, "The validation ELBO of each training, by step", best)
    axes = figure.subplots()
    plain(axes, x="step", y="nats per row")
    for index, (name, curve) in enumerate(curves.items()):
        axes.plot(curve.step, curve, **line_style(index), linewidth=1.3, label=f"\u200b{name}")
    low = min(float(curve.quantile(0.05)) for curve in curves.values())
    high = max(float(curve.max()) for curve in curves.values())
    margin = 0.05 * (high - low or 1.0)
    axes.set_ylim(low - margin, high + margin)
    legend = axes.legend(frameon=False, loc="lower right", fontsize=SMALL)
    for text in legend.get_texts():
        text.set_parse_math(False)
    caption = "The validation ELBO of each run. The first steep rise is cut off."
    return Section("training", "Training", [picture_of(figure, caption)])


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
    table = Table("Options that differ", ("option", *subjects), rows)
    return Section("configuration", "In what the runs differ", [table])


def _options(subject: Subject) -> Any:
    try:
        return yaml.load(subject.configuration, Loader=PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {"config.yaml": subject.configuration}


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """Return nested options as one level, with dotted names."""
    if not isinstance(value, dict):
        text = str(value)
        # Classes are known by their last name.
        return {name or "-": _CLASS.sub(r"\1", text)}
    found: dict[str, str] = {}
    for key, each in value.items():
        short = {"class_path": "", "init_args": ""}.get(str(key), str(key))
        found |= _flat(each, ".".join(part for part in (name, short) if part))
    return found


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
