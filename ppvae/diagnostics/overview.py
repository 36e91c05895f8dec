"""Every diagnostic that applies to a pair, each with a verdict."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.checks import Subject, does_not_apply, selected_checks
from ppvae.diagnostics.effort import STANDARD, Effort
from ppvae.diagnostics.export import arviz_data, to_arviz, with_groups
from ppvae.diagnostics.failed_rows import sound_or_all
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.engine import (
    Batch,
    Data,
    Pair,
    Unsupported,
    as_batch,
    first_line,
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
        rows = tuple(tensor[:_EXPORTED] for tensor in self.batch)
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
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
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
    batch = as_batch(data, pair, split=split)
    random = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(batch[0]), generator=random)[: effort.datapoints]
    rows = rows_at(batch, chosen)
    dataset = data if isinstance(data, Dataset) else None
    numbers = chosen if dataset is None else dataset.row_numbers(split)[chosen]
    found: list[Finding] = []
    sound = sound_or_all(pair, rows)
    if len(sound) < len(chosen):
        found.append(_failed(np.setdiff1d(numbers.numpy(), numbers[sound].numpy()), len(chosen)))
        rows, numbers = rows_at(rows, sound), numbers[sound]
    subject = Subject(pair, rows, numbers.numpy(), dataset, effort, seed, progress)
    selected, left = selected_checks(effort, dataset)
    for name, check in selected.items():
        try:
            found += check(subject)
        except Unsupported as error:
            found.append(does_not_apply(name, error))
        except Exception as error:
            place = None if strict else raised_in_pair(error)
            if place is None:
                raise
            found.append(_raised(name, error, place))
    return Diagnosis(tuple(found), left, pair, rows, seed)


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


def _failed(rows: NDArray[np.int64], count: int) -> Finding:
    return Finding(
        "datapoints",
        Verdict.BAD,
        f"the pair cannot be run on {len(rows)} of {count}: rows {', '.join(map(str, rows[:5]))}",
        "The parameters of its distributions are not valid there, most often because the encoder "
        "overflows on data far from the training data. All else is about the other datapoints.",
    )
