"""How often a method is trusted, wrongly trusted, and right within its intervals."""

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

ERRORS, NATS, SDS = 4.0, 0.05, 0.1
"""Above which a trusted value is wrong: stated errors, nats, posterior standard deviations."""
QUANTILE = 1.959964
ROUNDING = 1e-4
"""Nats, and posterior standard deviations, that intervals are wider: single precision."""


@dataclass(frozen=True)
class Said:
    """What a method says of each datapoint.

    Args:
        trusted: `(data,)`.
        seconds: for all datapoints.
        log_evidence: in nats, `(data,)`, or None if the method has none.
        log_evidence_error: its stated standard error.
        means: posterior means by site, `(data, values)`.
        mean_errors: their stated standard errors.
        reasons: why a datapoint is not trusted, by row.
        levels: name of the level that served each datapoint, if there are levels.
    """

    trusted: np.ndarray
    seconds: float
    log_evidence: np.ndarray | None = None
    log_evidence_error: np.ndarray | None = None
    means: dict = field(default_factory=dict)
    mean_errors: dict = field(default_factory=dict)
    reasons: dict = field(default_factory=dict)
    levels: tuple = ()


@dataclass(frozen=True)
class Judged:
    """What it is worth: shares of all datapoints, coverage of the trusted ones' intervals."""

    rows: int
    trusted: int
    wrong: np.ndarray
    upper: float
    coverage: float
    mean_coverage: float
    seconds: float
    failures: list

    @property
    def share_trusted(self):
        return self.trusted / self.rows

    @property
    def share_wrong(self):
        return len(self.wrong) / self.rows


def judged(said, right):
    """Compare what was said with what is right, an `exact.Right`."""
    trusted = np.asarray(said.trusted, bool)
    rows = len(trusted)
    wrong, failures, coverage = np.zeros(rows, bool), [], math.nan
    if said.log_evidence is not None:
        exact = right.log_evidence.numpy()
        off, error = np.abs(said.log_evidence - exact), said.log_evidence_error
        # Not `>`: what is NaN is wrong.
        bad = trusted & ~(off <= np.maximum(ERRORS * error, NATS))
        coverage = _share(off[trusted] <= QUANTILE * error[trusted] + ROUNDING)
        for row in np.flatnonzero(bad):
            failures.append(
                f"{_named(row, said)}: log P(X) {said.log_evidence[row]:.3f} +- {error[row]:.3f}, "
                f"right {exact[row]:.3f}"
            )
        wrong |= bad
    inside = []
    for name, means in said.means.items():
        if name not in right.means:
            continue
        exact, sd = right.means[name].numpy(), right.sds[name].numpy()
        off, error = np.abs(means - exact), said.mean_errors[name]
        beyond = ~(off <= np.maximum(ERRORS * error, SDS * sd)) & trusted[:, None]
        inside.append((off <= QUANTILE * error + ROUNDING * sd)[trusted].ravel())
        for row in np.flatnonzero(beyond.any(1)):
            worst = np.argmax(np.where(beyond[row], off[row] / sd[row], 0))
            failures.append(
                f"{_named(row, said)}: mean of {name}[{worst}] {means[row, worst]:.3f} "
                f"+- {error[row, worst]:.3f}, right {exact[row, worst]:.3f}, "
                f"posterior sd {sd[row, worst]:.3f}"
            )
        wrong |= beyond.any(1)
    return Judged(
        rows=rows,
        trusted=int(trusted.sum()),
        wrong=np.flatnonzero(wrong),
        upper=upper_bound(int(wrong.sum()), rows),
        coverage=coverage,
        mean_coverage=_share(np.concatenate(inside)) if inside else math.nan,
        seconds=said.seconds,
        failures=failures,
    )


def upper_bound(count, rows, level=0.05):
    """Return the Clopper-Pearson upper bound of a share, one-sided."""
    return 1.0 if count == rows else float(stats.beta.ppf(1 - level, count + 1, rows - count))


def _share(hits):
    return float(np.mean(hits)) if np.size(hits) else math.nan


def _named(row, said):
    return f"row {row}" + (f" ({said.levels[row]})" if len(said.levels) else "")
