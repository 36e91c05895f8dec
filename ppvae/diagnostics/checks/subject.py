"""What a check takes and returns, and what several checks share."""

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset
from ppvae.diagnostics.effort import Effort
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.marginal_likelihood import evidence
from ppvae.diagnostics.names import NamedBatch, Names, names_of
from ppvae.diagnostics.posterior_refinement import Refined, refine
from ppvae.engine import (
    MEMORY,
    Batch,
    Pair,
    Unsupported,
    depends_on_place,
    draw_chunks,
    first_line,
    first_rows,
    isolated,
)

# The rate of false alarms of each check that is a test, over all its quantities. Six tests, of
# which some run at each level, raise one in at most 1.8 % of runs together; the rest of the 5 %
# that `diagnose` states is for chance, when 100 runs are counted.
ALARM = 0.003


@dataclass(frozen=True)
class Subject:
    """What is checked, and with how much computation.

    Args:
        pair: the pair.
        batch: the datapoints chosen, and what they are called.
        dataset: the dataset that they come from, if there is one.
        effort: how much to compute.
        seed: of all draws.
        progress: show progress bars.
        split: of the dataset, the part that the datapoints come from.
    """

    pair: Pair
    batch: Batch
    dataset: Dataset | None
    effort: Effort
    seed: int
    progress: bool | None
    split: str = "test"

    @property
    def names(self) -> Names:
        """What the datapoints are called."""
        return names_of(self.batch, "test")

    @property
    def rows(self) -> NDArray[np.int64]:
        """Their row numbers in the user's data, or in what a dataset was split from."""
        rows = self.names.rows
        return np.arange(len(self.batch[0])) if rows is None else rows

    @cached_property
    def evidence(self) -> xr.Dataset:
        """Formula (2) by the guide's draws."""
        return evidence(
            self.pair,
            self.batch,
            draws=self.effort.draws,
            seed=self.seed,
            progress=self.progress,
        )

    @cached_property
    def refined(self) -> Refined:
        """The posteriors of the first datapoints, refined."""
        return refine(
            self.pair,
            self.first(self.effort.refined),
            draws=self.effort.draws,
            seed=self.seed,
            progress=self.progress,
        )

    def first(self, count: int) -> Batch:
        """Return the first datapoints, or all where the pair does not take fewer."""
        with isolated(self.pair, self.seed):
            batch, _ = first_rows(self.pair, self.batch, count)
        return NamedBatch(batch, self.names.at(range(len(batch[0]))))


Check = Callable[[Subject], list[Finding]]


def chosen_rows(pair: Pair, batch: Batch, count: int, seed: int) -> Tensor:
    """Choose datapoints at random, or the first ones where their place among the rows matters."""
    with suppress(Exception), isolated(pair, seed):  # an error of the pair's comes up in a check
        first, structure = first_rows(pair, batch, count)
        if depends_on_place(pair, first, structure):
            return torch.arange(len(first[0]))
    random = torch.Generator().manual_seed(seed)
    return torch.randperm(len(batch[0]), generator=random)[:count]


def does_not_apply(name: str, refusal: Unsupported) -> Finding:
    """Return the finding that a check does not apply, and why."""
    return Finding(name, Verdict.UNKNOWN, "does not apply", first_line(refusal))


def all_values(values: xr.Dataset) -> NDArray[np.float64]:
    """Return the values of all variables, one after the other."""
    return np.concatenate([array.values.ravel() for array in values.values()])


def with_error(row: xr.Dataset) -> str:
    """Return a mean as text, with its standard error where there is one."""
    error = float(row["standard_error"])
    return f"{float(row['mean']):.2f}" + (f" +- {error:.2f}" if math.isfinite(error) else "")


def latent_numbers(subject: Subject) -> int:
    """Return how many numbers the latents of a datapoint are."""
    with isolated(subject.pair, subject.seed):
        _, _, parts = next(draw_chunks(subject.pair, subject.batch, 1, MEMORY))
        drawn = next(iter(parts)).latents
    return sum(value[0, 0].numel() for value in drawn.values())
