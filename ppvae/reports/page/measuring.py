"""All that a page needs is measured, or taken from what a run has kept."""

from pathlib import Path
from typing import Any

from torch import nn

from ppvae import diagnostics
from ppvae.data import Dataset
from ppvae.diagnostics import QUICK, Effort
from ppvae.diagnostics.names import NamedBatch, Names, named_batch
from ppvae.engine import Data, arguments_of, batch_of
from ppvae.inference import Fit
from ppvae.inference.persistence import read_json, read_text
from ppvae.reports.formula_two import FormulaTwo, measure_formula_two
from ppvae.reports.found import Found
from ppvae.reports.kept import Mark, kept_diagnosis, kept_formula_two, mark_of
from ppvae.reports.metrics import read_metrics
from ppvae.reports.page.refusals import reason_of
from ppvae.reports.page.subject import Subject
from ppvae.reports.run_folder import Run

_LARGEST = 2**20  # bytes of a configuration


def subject_of_run(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    *,
    split: str = "test",
    effort: Effort | None = None,
    draws: int = 1000,
    refine_seconds: float = 5.0,
    seed: int = 0,
) -> Subject:
    """Return what a page about a run needs.

    What `measure` and `examine` have kept of the same weights, rows, split and seed is not
    measured again.

    Args:
        run: the run.
        pair: its pair.
        dataset: its data.
        split: "train", "validation" or "test".
        effort: how much `diagnose` computes; unless given, what was kept of any effort will do,
            and otherwise little is computed.
        draws: draws per row, at least.
        refine_seconds: how long posteriors are refined, about, where none were kept.
        seed: of every draw.
    """
    mark = mark_of(run, pair, dataset, split, seed)
    formula, of_formula = _formula(run, pair, dataset, split, mark, draws, refine_seconds, seed)
    found, of_found = _found(run, pair, dataset, split, mark, effort, seed)
    return Subject(
        run.folder.absolute().name,
        pair,
        dataset,
        named_batch(dataset, split),
        split,
        seed,
        formula,
        found,
        str(run.folder),
        read_metrics(run.folder),
        configuration=read_text(run.config, _LARGEST) if run.config.is_file() else "",
        notes=_notes(run, dataset),
        sources=(of_formula, of_found),
    )


def subject_of_pair(
    pair: nn.Module,
    data: Data,
    *,
    title: str,
    split: str = "test",
    fit: Fit | None = None,
    diagnosis: diagnostics.Diagnosis | None = None,
    effort: Effort = QUICK,
    draws: int = 1000,
    refine_seconds: float = 5.0,
    seed: int = 0,
) -> Subject:
    """Return what a page about a pair and data needs, all of it measured now.

    Args:
        pair: the trained pair.
        data: a dataset, or tensors as the pair is called with.
        title: what the page is called.
        split: of a dataset, the part to measure on.
        fit: what `fit` returned.
        diagnosis: what `diagnose` found; measured unless given.
        effort: how much `diagnose` computes, or computed.
        draws: draws per row.
        refine_seconds: how long posteriors are refined, about.
        seed: of every draw.
    """
    batch = _batch(pair, data, split)
    options: dict[str, Any] = {"draws": draws, "seed": seed, "refine_seconds": refine_seconds}
    formula = _measured(pair, batch, **options)
    if diagnosis is None:
        diagnosis = diagnostics.diagnose(pair, data, split=split, effort=effort, seed=seed)
    dataset = data if isinstance(data, Dataset) else None
    return Subject(
        title,
        pair,
        dataset,
        batch,
        split,
        seed,
        formula,
        Found.of(diagnosis, effort),
        history=None if fit is None else fit.history,
        marks=_marks(fit),
        notes=() if dataset is None else dataset.notes,
    )


def _formula(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    mark: Mark | None,
    draws: int,
    refine_seconds: float,
    seed: int,
) -> tuple[FormulaTwo, str]:
    kept = kept_formula_two(run, split, mark)
    if kept is not None and kept.serves(draws, refine_seconds):
        return kept, "Formula (2) is what was measured before, and kept in the run's folder."
    formula = _measured(
        pair, named_batch(dataset, split), draws=draws, seed=seed, refine_seconds=refine_seconds
    )
    return formula, "Formula (2) was measured for this page."


def _measured(pair: nn.Module, batch: NamedBatch, **options: Any) -> FormulaTwo:
    """Measure formula (2); where the pair's own code fails, say so."""
    try:
        return measure_formula_two(pair, batch, **options)
    except Exception as error:
        return FormulaTwo(None, refusal=reason_of(error))


def _found(
    run: Run,
    pair: nn.Module,
    dataset: Dataset,
    split: str,
    mark: Mark | None,
    effort: Effort | None,
    seed: int,
) -> tuple[Found, str]:
    kept = kept_diagnosis(run, split, mark)
    if kept is not None and effort in (None, kept.effort):
        return kept, f"The findings are those that `ppvae diagnose` kept, of {kept.level}."
    effort = QUICK if effort is None else effort
    diagnosis = diagnostics.diagnose(pair, dataset, split=split, effort=effort, seed=seed)
    found = Found.of(diagnosis, effort)
    return found, f"The findings were made for this page, at {found.level}."


def _marks(fit: Fit | None) -> dict[str, int | None]:
    if fit is None:
        return {}
    return {"best weights": fit.kept_step, "compiled": fit.compiled_from}


def _batch(pair: nn.Module, data: Data, split: str) -> NamedBatch:
    if isinstance(data, Dataset):
        return named_batch(data, split)
    if isinstance(data, NamedBatch):
        return data
    batch, _ = batch_of(pair, arguments_of(data, split=split, pair=pair))
    return NamedBatch(batch, Names())


def _notes(run: Run, dataset: Dataset) -> tuple[str, ...]:
    """Return what was decided when the pair was trained, or else now."""
    path: Path = run.folder / "data.json"
    if not path.is_file():
        return dataset.notes
    notes = read_json(path).get("notes", [])
    return tuple(str(note) for note in notes) if isinstance(notes, list) else ()
