"""What was measured of formula (2) on the rows of a split, refined posteriors included."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from ppvae import diagnostics
from ppvae.diagnostics.names import NamedBatch
from ppvae.engine import Unsupported, first_line, raised_in_pair
from ppvae.reports.refinement_in_time import RowsInTime, refine_in_time
from ppvae.reports.tables import with_refined

TAIL = 100
"""Draws that the tail of the weights is fitted to at least."""


@dataclass(frozen=True)
class FormulaTwo:
    """The terms of formula (2) for each row, or why there are none.

    Args:
        evidence: what `diagnostics.evidence` returned; None if it refused the pair.
        refined: rows whose posterior was refined; None if none was.
        refusal: why there is no evidence.
        unrefined: why nothing was refined; "" if that was not asked for.
    """

    evidence: xr.Dataset | None
    refined: RowsInTime | None = None
    refusal: str = ""
    unrefined: str = ""

    def serves(self, draws: int, refine_seconds: float) -> bool:
        """Tell whether it holds what so many draws, and so long a refinement, would tell."""
        if self.evidence is None or self.evidence.attrs["draws"] < draws:
            return False
        tried = self.refined is not None or bool(self.unrefined)
        return tried or refine_seconds == 0 or draws < TAIL

    @property
    def refined_table(self) -> xr.Dataset | None:
        """What refined posteriors say of the rows that have one."""
        return None if self.refined is None else self.refined.table

    @property
    def whole(self) -> xr.Dataset | None:
        """The same, if all rows have one."""
        return None if self.refined is None or not self.refined.whole else self.refined.table

    def summary(self) -> xr.Dataset:
        """Return the means of all terms, the best that were measured of all rows."""
        assert self.evidence is not None
        own = diagnostics.summarize(self.evidence)
        return own if self.whole is None else with_refined(own, self.whole)

    def refined_summary(self) -> xr.Dataset:
        """Return the means of all terms over the rows that were refined; over all if none was."""
        if self.refined is None:
            return self.summary()
        return with_refined(diagnostics.summarize(self.refined.guide), self.refined.table)

    def by_row(self) -> xr.Dataset:
        """Return log P(X), its error, k and trust of each row: refined where a row was."""
        assert self.evidence is not None
        terms = self.evidence
        found: dict[str, NDArray[Any]] = {
            "log_evidence": terms.log_evidence.values.copy(),
            "log_evidence_error": terms.log_evidence_error.values.copy(),
            "k": terms.pooled_k.values.copy(),
            "trusted": terms.trusted.values.astype(bool),
        }
        found["refined"] = np.zeros(len(found["k"]), dtype=bool)
        if self.refined is not None:
            better, places = self.refined.table, self.refined.places
            for name in ("log_evidence", "log_evidence_error", "trusted"):
                found[name][places] = better[name].values
            found["k"][places] = better.pareto_k.values
            found["refined"][places] = True
        coords = {name: terms.coords[name] for name in terms.coords if name != "term"}
        return xr.Dataset({name: ("data", each) for name, each in found.items()}, coords)


def measure_formula_two(
    pair: nn.Module,
    batch: NamedBatch,
    *,
    draws: int,
    seed: int,
    compile: bool = True,
    refine_seconds: float = 0,
) -> FormulaTwo:
    """Measure formula (2) with the guide's draws, then refine as many rows as a time allows.

    Args:
        pair: any pair.
        batch: the rows.
        draws: draws per row.
        seed: of every draw.
        compile: whether the draws may run as compiled code.
        refine_seconds: how long posteriors are refined, about; inf refines those of all rows.
    """
    started = time.monotonic()
    try:
        evidence = diagnostics.evidence(pair, batch, draws=draws, seed=seed, compile=compile)
    except Unsupported as refusal:
        return FormulaTwo(None, refusal=first_line(refusal))
    if not (math.isinf(refine_seconds) or (refine_seconds > 0 and draws >= TAIL)):
        return FormulaTwo(evidence)
    weighing = time.monotonic() - started
    options: dict[str, Any] = {"draws": draws, "seed": seed, "seconds": refine_seconds}
    try:
        return FormulaTwo(
            evidence, refine_in_time(pair, batch, evidence, weighing=weighing, **options)
        )
    except Exception as error:
        if not isinstance(error, Unsupported) and raised_in_pair(error) is None:
            raise
        return FormulaTwo(evidence, unrefined=first_line(error))
