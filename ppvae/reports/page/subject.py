"""What a page is about, and all that was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import xarray as xr
from torch import nn

from ppvae.data import Dataset
from ppvae.diagnostics.names import NamedBatch
from ppvae.reports.formula_two import FormulaTwo
from ppvae.reports.found import Found
from ppvae.reports.subject import source_of


@dataclass(frozen=True)
class Subject:
    """A trained pair, the rows that it is judged by, and what was measured of them.

    Args:
        title: what the page is called, such as the name of a run's folder.
        pair: the trained pair.
        dataset: the data; None where they are no dataset.
        batch: what the pair is called with for the split.
        split: "train", "validation" or "test".
        seed: of every draw.
        formula: the terms of formula (2).
        found: what `diagnose` found.
        run: the run's folder, as a user names it; None without one.
        history: the evaluations of the training; None where they are not known.
        marks: steps of the training to be marked, by what happened there.
        configuration: what repeats the run, as text.
        notes: what was decided in reading the data, one sentence each.
        sources: where the numbers come from, one sentence each.
    """

    title: str
    pair: nn.Module
    dataset: Dataset | None
    batch: NamedBatch
    split: str
    seed: int
    formula: FormulaTwo
    found: Found
    run: str | None = None
    history: xr.Dataset | None = None
    marks: Mapping[str, int | None] = field(default_factory=dict)
    configuration: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    @property
    def rows(self) -> str:
        """What the rows are called, such as "test rows"."""
        return "rows" if self.dataset is None else f"{self.split} rows"

    @property
    def source(self) -> str:
        """Which data and run a figure is of."""
        named = self.title if self.run is not None else ""
        return source_of(self.dataset, self.split, named) if self.dataset is not None else named

    @property
    def results(self) -> dict[str, Any]:
        """The numbers behind the findings, by the name of their group."""
        return self.found.results
