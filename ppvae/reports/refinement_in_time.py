"""Refined posteriors of as many held-out rows as a time allows."""

import math
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from ppvae.diagnostics import Refined, refine, summarize
from ppvae.diagnostics.names import NamedBatch
from ppvae.engine import adapted, depends_on_place, first_rows, isolated
from ppvae.reports.tables import number

_FIRST, _GROWTH = 16, 4  # rows that are refined at first, and growth of their number
_COST = 30  # what a row costs at least, in times its importance weights
_FEW = 256  # rows that tell whether the place of a row matters


@dataclass(frozen=True)
class RowsInTime:
    """Rows whose posterior was refined.

    Args:
        table: that of `Refined`, of those rows, in the order of the data.
        guide: what `evidence` returned, of the same rows.
        count: number of rows of the data.
        choice: how the rows were chosen, in words; "" of all.
        seconds: how long it took.
        reasons: why rows are not trusted, by what they are called.
        places: which rows they are, by their places in the data.
    """

    table: xr.Dataset
    guide: xr.Dataset
    count: int
    choice: str
    seconds: float
    reasons: dict[str, str]
    places: NDArray[np.int64]

    @property
    def whole(self) -> bool:
        """Whether all rows were refined."""
        return self.table.sizes["data"] == self.count

    @property
    def levels(self) -> dict[str, int]:
        """Number of trusted rows of each level that served some."""
        levels = self.table.level.values[self.table.trusted.values]
        counts = {name: int((levels == place).sum()) for place, name in enumerate(Refined.levels)}
        return {name: served for name, served in counts.items() if served}

    def lines(self, split: str) -> list[str]:
        """Say of how many rows log P(X) is trusted, and what it is."""
        rows, trusted = self.table.sizes["data"], int(self.table.trusted.sum())
        kept = summarize(self.table.isel(data=self.table.trusted.values)) if trusted else None
        if kept is None:
            lines = [f"  log P(X) of none of {rows} {split} rows is trusted"]
        else:
            value = kept.sel(term="log_evidence")
            by_guide = float(self.guide.log_evidence.values[self.table.trusted.values].mean())
            lines = [
                f"  log P(X) of {trusted} of {rows} {split} rows is trusted: "
                f"{float(value['mean']):.2f} +- {float(value.monte_carlo_error):.2f};",
                f"  the guide's own draws would have said {by_guide:.2f}",
            ]
        served = ", ".join(f"{name} {count}" for name, count in self.levels.items())
        took = f"  refined in {self.seconds:.0f} s" + (
            f", trusted by level: {served}" * bool(served)
        )
        lines.append(took)
        if self.choice:
            lines.append(f"  {self.choice}; `ppvae refine` serves all {self.count}")
        if self.reasons:
            row, reason = next(iter(self.reasons.items()))
            more = f", and {len(self.reasons) - 1} more" if len(self.reasons) > 1 else ""
            lines.append(f"  not trusted: row {row}: {reason}{more}")
        return lines

    def content(self) -> dict[str, Any]:
        """Return the same as JSON can hold it; means are over all rows that were refined."""
        summary = summarize(self.table)
        return {
            "rows": int(self.table.sizes["data"]),
            "of": self.count,
            "trusted": int(self.table.trusted.sum()),
            "levels": self.levels,
            "choice": self.choice,
            "terms": {
                str(term): {
                    name: number(float(summary[name].sel(term=term))) for name in summary.data_vars
                }
                for term in summary.term.values
            },
            "not_trusted": self.reasons,
        }


def refine_in_time(
    pair: nn.Module,
    batch: NamedBatch,
    evidence: xr.Dataset,
    *,
    draws: int,
    seed: int,
    seconds: float,
    weighing: float,
) -> RowsInTime:
    """Refine the posteriors of as many rows as a time allows, chosen at random.

    The first few rows tell how long others take. Rows that the pair fails on are left out. Where
    the place of a row among the others matters, the first ones are taken.

    Args:
        pair: any pair.
        batch: the rows.
        evidence: what `diagnostics.evidence` returned of them.
        draws: number of draws per row.
        seed: of the draws and of the choice of rows.
        seconds: the time, about; inf for all rows.
        weighing: seconds that `evidence` took.

    Raises:
        Unsupported: as `diagnostics.refine` does.
    """
    begun, count = time.monotonic(), len(batch[0])
    known = torch.from_numpy(evidence.log_evidence.notnull().values.copy()).nonzero()[:, 0]
    by_place = _by_place(pair, batch, seed)
    random = torch.Generator().manual_seed(seed)
    order = known if by_place else known[torch.randperm(len(known), generator=random)]
    tables: list[xr.Dataset] = []
    reasons: dict[str, str] = {}
    done = 0
    first = size = _at_first(seconds, _COST * weighing / count, len(order), by_place)
    while size:
        started, rows = time.monotonic(), order[done : done + size]
        found = refine(pair, _at(batch, rows), draws=draws, seed=seed + len(tables))
        tables.append(found.table)
        reasons |= {found.names.shown([row]): reason for row, reason in found.refusals.items()}
        done += len(rows)
        left, each = seconds - (time.monotonic() - begun), time.monotonic() - started
        size = int(min(_GROWTH * size, max(left, 0) * len(rows) / each, len(order) - done))
        if by_place or size < min(first, len(order) - done):
            break  # a few rows take nearly as long as many
    choice = ""
    if done < count:
        how = "the first ones" if by_place else f"chosen at random with seed {seed}"
        allowed = f", as many as {seconds:.0f} s allow" if done < len(order) else ""
        choice = f"{done} of {count} rows, {how}{allowed}"
    arranged = order[:done].argsort().numpy()
    whole = tables[0] if len(tables) == 1 else xr.concat(tables, "data")
    places = order[:done].sort().values.numpy()
    return RowsInTime(
        whole.isel(data=arranged),
        evidence.isel(data=places),
        count,
        choice,
        time.monotonic() - begun,
        reasons,
        places,
    )


def _at_first(seconds: float, each: float, rows: int, by_place: bool) -> int:
    """Return how many rows are refined at first, if one takes `each` seconds or longer."""
    if math.isinf(seconds):
        return rows
    most = rows if by_place else min(rows, _FIRST)
    return max(1, min(most, int(seconds / each)))


def _by_place(pair: nn.Module, batch: NamedBatch, seed: int) -> bool:
    """Tell whether the place of a row among the others matters."""
    own, rows = adapted(pair, batch, split="test", seed=seed)
    with suppress(Exception), isolated(own, seed):  # an error of the pair's comes up again
        first, structure = first_rows(own, rows, _FEW)
        return depends_on_place(own, first, structure)
    return False


def _at(batch: NamedBatch, rows: Tensor) -> NamedBatch:
    """Return some rows, also of sparse ones."""
    return NamedBatch(tuple(part[rows] for part in batch), batch.names.at(rows.tolist()))
