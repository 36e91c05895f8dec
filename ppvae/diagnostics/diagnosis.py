"""What all checks found, as one verdict with the one action that helps most."""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ppvae.data import html_table
from ppvae.diagnostics.export import arviz_data, to_arviz, with_groups
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.names import named_first
from ppvae.diagnostics.remedies import Remedy
from ppvae.engine import Batch, Pair, Unsupported, first_line, raised_in_pair

_EXPORTED, _DRAWS = 100, 100  # datapoints and draws in the groups for ArviZ's plots
_RATE = "an exact pair gets no alarm in at least 95 of 100 runs"


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found. As text it fits on one screen, and ends in what to do next.

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

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are "look" or "bad"."""
        return tuple(f for f in self.findings if f.verdict in (Verdict.LOOK, Verdict.BAD))

    @property
    def next_step(self) -> Remedy | None:
        """The remedy that helps most: by the nats that were measured, then by the verdict.

        Where a check has found which cause the nats of another have, its remedy counts.
        """
        names = {finding.name for finding in self.alarms}
        ranked = [
            (-math.inf if remedy.nats is None else remedy.nats, bad, remedy)
            for remedy, bad in self._remedies()
            if remedy.cause not in names
        ]
        return max(ranked, key=lambda entry: entry[:2])[2] if ranked else None

    def _remedies(self) -> Iterator[tuple[Remedy, bool]]:
        for finding in self.alarms:
            if finding.remedy is not None:
                yield finding.remedy, finding.verdict is Verdict.BAD

    def __repr__(self) -> str:
        return self.shown()

    def _repr_html_(self) -> str:
        """Return the findings as a table and the next step as another, which notebooks show."""
        rows = [
            (each.name, each.verdict.value, each.answer, each.advice if each.advised else "")
            for each in self.findings
        ]
        left = "\n".join(f"{name}: {reason}" for name, reason in self.left.items())
        rows += [("not run", "", left, "")] if left else []
        title = f"{len(self.batch[0])} datapoints, nats per datapoint; {self._count}"
        text = html_table(title, rows, ("verdict", "found", "advice"))
        if (remedy := self.next_step) is None:
            return text
        code = [("next", "\n".join(remedy.lines()))]
        return text + html_table(f"next: {self._reason(remedy)}", code, ("Python",), code="Python")

    @property
    def _count(self) -> str:
        bad = sum(finding.verdict is Verdict.BAD for finding in self.alarms)
        count = f"{len(self.alarms)} of {len(self.findings)} findings, {bad} bad"
        return f"alarms: {count if self.alarms else 'none'}"

    @staticmethod
    def _reason(remedy: Remedy) -> str:
        gain = remedy.nats is not None and math.isfinite(remedy.nats)
        return remedy.reason + (f" ({remedy.nats:.2f} nats)" if gain else "")

    def shown(self, run: str | None = None) -> str:
        """Return all findings, the verdict on the whole, and what to do next.

        Args:
            run: a run's folder; remedies are then commands, otherwise Python.
        """
        lines = [f"{len(self.batch[0])} datapoints, nats per datapoint"]
        lines += [finding.shown(run) for finding in self.findings]
        lines += [f"-     {name:22}not run: {reason}" for name, reason in self.left.items()]
        lines.append(f"{self._count}; {_RATE}")
        if (remedy := self.next_step) is not None:
            lines += [f"next: {self._reason(remedy)}", *remedy.lines(run)]
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
