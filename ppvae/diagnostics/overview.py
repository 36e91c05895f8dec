"""Every diagnostic that applies to a pair, each with a verdict."""

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ppvae.data import Dataset
from ppvae.diagnostics.checks import (
    Subject,
    chosen_rows,
    does_not_apply,
    selected_checks,
    together,
)
from ppvae.diagnostics.diagnosis import Diagnosis
from ppvae.diagnostics.effort import STANDARD, Effort
from ppvae.diagnostics.failed_rows import sound_or_all
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.names import NamedBatch, Names, names_of
from ppvae.engine import (
    Adapted,
    Data,
    Pair,
    Unsupported,
    adapted,
    arguments_of,
    batch_of,
    first_line,
    raised_in_pair,
    rows_at,
    statement_of,
)


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

    An alarm is a finding that is "look" or "bad". An exact pair, whose guide is the posterior and
    whose data come from its model, gets no alarm in at least 95 of 100 runs. Each of the six tests
    (likelihood, samples, ranks, center, credible regions, held-out data) raises a false alarm in
    0.3 % of runs, over all its quantities; `Finding.p_value` is the p-value. All else is graded by
    its size, which is 0 for an exact pair. Latents without information, labels and factors are
    graded for what they are, whether the pair is exact or not.

    Each alarm has a remedy, as a call to paste. `Diagnosis.next_step`, the last lines of the text,
    is the one with the most nats, where nats were measured.

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
        pair, batch = adapted(pair, data, split=split, seed=seed, in_chunks=True)
    except Unsupported as error:  # no datapoint has a density of its own
        batch, _ = batch_of(own, arguments_of(data, split=split, pair=own))
        options = (own, data, len(batch[0]), effort, seed, progress)
        found = _findings("all data together", lambda: together(*options), strict)
        return Diagnosis((*found, does_not_apply("datapoints", error)), {}, own, batch, seed)
    chosen = chosen_rows(pair, batch, effort.datapoints, seed)
    rows = rows_at(batch, chosen)
    dataset = data if isinstance(data, Dataset) else None
    names = names_of(data, split).at(chosen)
    found = []
    if isinstance(pair, Adapted) and pair.shared.given:
        options = (pair, batch, len(batch[0]), effort, seed, progress)
        found += _findings("all data together", lambda: together(*options), strict)
    sound = sound_or_all(pair, rows)
    if len(sound) < len(chosen):
        failed = np.setdiff1d(np.arange(len(chosen)), sound.numpy())
        found.append(_failed(failed, len(chosen), names))
        rows, names = rows_at(rows, sound), names.at(sound)
    subject = Subject(pair, NamedBatch(rows, names), dataset, effort, seed, progress, split)
    selected, left = selected_checks(effort, dataset, split)
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


def _failed(rows: NDArray[np.int64], count: int, names: Names) -> Finding:
    return Finding(
        "datapoints",
        Verdict.BAD,
        f"the pair cannot be run on {len(rows)} of {count}: rows {names.shown(rows[:5])}",
        "The parameters of its distributions are not valid there, most often because the encoder "
        "overflows on data far from the training data. All else is about the other datapoints.",
    )
