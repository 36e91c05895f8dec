"""Every diagnostic that applies to a pair, each with a verdict."""

import functools
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.checks import Subject, does_not_apply, selected_checks, together
from ppvae.diagnostics.effort import STANDARD, Effort
from ppvae.diagnostics.export import arviz_data, to_arviz, with_groups
from ppvae.diagnostics.failed_rows import sound_or_all
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.names import NamedBatch, Names, named_first, names_of
from ppvae.engine import (
    Adapted,
    Batch,
    Data,
    Pair,
    Unsupported,
    adapted,
    arguments_of,
    batch_of,
    depends_on_place,
    first_line,
    first_rows,
    isolated,
    raised_in_pair,
    rows_at,
    statement_of,
)

_EXPORTED, _DRAWS = 100, 100  # datapoints and draws in the groups for ArviZ's plots


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found. As text it fits on one screen.

    Args:
        findings: one or more of each check.
        left: checks that were not run, with the reason or what to use instead.
        pair: the pair that was checked.
        batch: the datapoints that were checked.
        seed: of the draws.
    """

    findings: tuple[Finding, ...]
    left: dict[str, str]
    pair: Pair
    batch: Batch
    seed: int

    def __str__(self) -> str:
        lines = [f"{len(self.batch[0])} datapoints, nats per datapoint"]
        lines += [str(finding) for finding in self.findings]
        lines += [f"-     {name:22}not run: {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)

    def to_arviz(self) -> Any:
        """Return all results as one tree, together with the groups of `to_arviz`.

        Those groups hold the first 100 datapoints. They are left out, with a warning, where the
        pair refuses or fails to be exported.

        Returns:
            `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x.
        """
        rows = named_first(self.batch, _EXPORTED)
        results = {name: data for f in self.findings for name, data in f.results.items()}
        try:
            tree = to_arviz(self.pair, rows, draws=_DRAWS, predictive=False, seed=self.seed)
        except Exception as error:
            if not isinstance(error, Unsupported) and raised_in_pair(error) is None:
                raise
            warnings.warn(
                f"only the results are exported, without draws: {first_line(error)}", stacklevel=2
            )
            tree = arviz_data({}, {})
        return with_groups(tree, results) if results else tree


def diagnose(
    pair: Pair,
    data: Data,
    *,
    split: str = "test",
    effort: Effort = STANDARD,
    seed: int = 0,
    progress: bool | None = None,
    strict: bool = False,
) -> Diagnosis:
    """Run every diagnostic that applies, and give each the verdict fine, look, bad or "?".

    A diagnostic that does not apply to the pair or the data (it raises `Unsupported`), such as
    annealing of discrete latents or the evidence of a pseudo-likelihood, has a finding that says
    why. So has one in which the pair's own code raises an exception: its finding has the type, the
    place and the cause. An exception of our code is raised. The verdict is "?" too, with the
    reason, where the data or draws are too few to tell. Calibration and bounds from both sides are
    measured on data simulated from the model, all else on `data`.

    Args:
        pair: any pair.
        data: `(data, *event)`, preferably not used in the training; or a dataset, whose labels and
            factors, if known, are predicted from the latents of its test split.
        split: of a dataset, the part to check.
        effort: how much to compute: `diagnostics.QUICK`, `STANDARD`, `DEEP`, or your own `Effort`.
        seed: of all draws and of the choice of datapoints.
        progress: show progress bars; only on a terminal, unless given.
        strict: raise an exception of the pair's own code.

    Raises:
        ValueError: if the data or a number of `effort` are not valid, or there is no such split.
        Exception: what the pair's own code raises, if `strict`.

    Example:
        >>> from ppvae import data, pairs
        >>> from ppvae.diagnostics import Effort
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> found = diagnose(pair, digits.test, effort=Effort(datapoints=20, draws=50))
        >>> found.findings[0].name, found.left["gaps"]
        ('guide, KL[Q||P(z|X)]', 'level standard')
    """
    if split not in ("train", "validation", "test"):
        raise ValueError(f"split must be 'train', 'validation' or 'test', got {split!r}")
    own = pair
    try:
        pair, batch = adapted(pair, data, split=split, seed=seed)
    except Unsupported as error:  # no datapoint has a density of its own
        batch, _ = batch_of(own, arguments_of(data, split=split, pair=own))
        options = (own, data, effort, seed, progress)
        found = _findings("all data together", lambda: together(*options), strict)
        return Diagnosis((*found, does_not_apply("datapoints", error)), {}, own, batch, seed)
    chosen = _chosen(pair, batch, effort.datapoints, seed)
    rows = rows_at(batch, chosen)
    dataset = data if isinstance(data, Dataset) else None
    names = names_of(data, split).at(chosen)
    found = []
    if isinstance(pair, Adapted) and pair.shared.given:
        options = (pair, batch, effort, seed, progress)
        found += _findings("all data together", lambda: together(*options), strict)
    sound = sound_or_all(pair, rows)
    if len(sound) < len(chosen):
        failed = np.setdiff1d(np.arange(len(chosen)), sound.numpy())
        found.append(_failed(failed, len(chosen), names))
        rows, names = rows_at(rows, sound), names.at(sound)
    subject = Subject(pair, NamedBatch(rows, names), dataset, effort, seed, progress)
    selected, left = selected_checks(effort, dataset)
    for name, check in selected.items():
        found += _findings(name, functools.partial(check, subject), strict)
    return Diagnosis(tuple(found), left, pair, subject.batch, seed)


def _findings(name: str, check: Callable[[], list[Finding]], strict: bool) -> list[Finding]:
    """Return what a check finds, or that it does not apply, or that the pair fails in it."""
    try:
        return check()
    except Unsupported as error:
        return [does_not_apply(name, error)]
    except Exception as error:
        place = None if strict else raised_in_pair(error)
        if place is None:
            raise
        return [_raised(name, error, place)]


def _raised(name: str, error: Exception, place: str) -> Finding:
    cause, kind = first_line(error), type(error).__name__
    if cause == kind:
        cause = statement_of(error) or cause
    notes = [note for note in getattr(error, "__notes__", ()) if note not in cause]
    return Finding(
        name,
        Verdict.UNKNOWN,
        f"{kind} at {place}: {cause}",
        f"The pair's own code raised it {', '.join(notes)}".strip()
        + ". diagnose(..., strict=True) raises it with its traceback.",
    )


def _chosen(pair: Pair, batch: Batch, count: int, seed: int) -> torch.Tensor:
    """Choose datapoints at random, or the first ones where their place among the rows matters."""
    with suppress(Exception), isolated(pair, seed):  # an error of the pair's comes up in a check
        first, structure = first_rows(pair, batch, count)
        if depends_on_place(pair, first, structure):
            return torch.arange(len(first[0]))
    random = torch.Generator().manual_seed(seed)
    return torch.randperm(len(batch[0]), generator=random)[:count]


def _failed(rows: NDArray[np.int64], count: int, names: Names) -> Finding:
    return Finding(
        "datapoints",
        Verdict.BAD,
        f"the pair cannot be run on {len(rows)} of {count}: rows {names.shown(rows[:5])}",
        "The parameters of its distributions are not valid there, most often because the encoder "
        "overflows on data far from the training data. All else is about the other datapoints.",
    )
