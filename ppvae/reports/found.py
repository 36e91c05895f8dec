"""What a diagnosis found, without the pair, so that it can be kept in a file."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import xarray as xr

from ppvae.diagnostics import DEEP, QUICK, STANDARD, Diagnosis, Effort, Finding, Remedy, Verdict
from ppvae.reports.tables import number

_COMMAND = re.compile(r"(ppvae( [\w.,:=\[\]-]+| \{run\}(/config\.yaml)?)+)?")
_OF_THE_READER = re.compile(r"--(trust|pair|folder|overwrite|output|resume|checkpoint)\b")
_LEVELS = {"quick": QUICK, "standard": STANDARD, "deep": DEEP}


@dataclass(frozen=True)
class Found:
    """Findings, and what else `Diagnosis` says of the whole.

    Args:
        findings: as those of `Diagnosis`.
        left: checks that were not run, with the reason.
        datapoints: number of datapoints that were checked.
        next_step: the remedy that helps most.
        effort: how much was computed.
    """

    findings: tuple[Finding, ...]
    left: Mapping[str, str]
    datapoints: int
    next_step: Remedy | None
    effort: Effort

    @classmethod
    def of(cls, diagnosis: Diagnosis, effort: Effort) -> "Found":
        """Return what a diagnosis found with some effort."""
        count = len(diagnosis.batch[0])
        return cls(diagnosis.findings, diagnosis.left, count, diagnosis.next_step, effort)

    @property
    def alarms(self) -> tuple[Finding, ...]:
        """The findings that are "look" or "bad"."""
        return tuple(f for f in self.findings if f.verdict in (Verdict.LOOK, Verdict.BAD))

    @property
    def level(self) -> str:
        """The name of the effort; "an effort of its own" where it has none."""
        names = [name for name, effort in _LEVELS.items() if effort == self.effort]
        return f"level {names[0]}" if names else "an effort of its own"

    @property
    def results(self) -> dict[str, xr.Dataset]:
        """The numbers behind the findings, by the name of their group."""
        return {name: data for f in self.findings for name, data in f.results.items()}

    def content(self) -> dict[str, Any]:
        """Return the same as JSON can hold it; of results, their names."""
        return {
            "effort": asdict(self.effort),
            "datapoints": self.datapoints,
            "findings": [
                {
                    "name": finding.name,
                    "verdict": finding.verdict.value,
                    "answer": finding.answer,
                    "advice": finding.advice,
                    "p_value": finding.p_value,
                    "remedy": _remedy_content(finding.remedy),
                    "results": list(finding.results),
                }
                for finding in self.findings
            ],
            "left": dict(self.left),
            "next_step": _remedy_content(self.next_step),
        }

    @classmethod
    def read(cls, content: Mapping[str, Any], results: Mapping[str, xr.Dataset]) -> "Found":
        """Return what a file holds.

        Args:
            content: what `content` returned.
            results: the numbers, by the name of their group.

        Raises:
            KeyError, TypeError, ValueError: if the content is another.
        """
        findings = [
            Finding(
                _text(each["name"]),
                Verdict(each["verdict"]),
                _text(each["answer"]),
                _text(each["advice"]),
                {name: results[name] for name in each["results"]},
                None if each["p_value"] is None else float(each["p_value"]),
                _remedy(each["remedy"]),
            )
            for each in content["findings"]
        ]
        return cls(
            tuple(findings),
            {_text(check): _text(reason) for check, reason in content["left"].items()},
            int(content["datapoints"]),
            _remedy(content["next_step"]),
            Effort(**content["effort"]),
        )


def _remedy_content(remedy: Remedy | None) -> dict[str, Any] | None:
    if remedy is None:
        return None
    nats = None if remedy.nats is None else number(remedy.nats)
    return asdict(remedy) | {"nats": nats}


def _remedy(content: Mapping[str, Any] | None) -> Remedy | None:
    if content is None:
        return None
    nats = None if content["nats"] is None else float(content["nats"])
    reason, call, command, cause = (
        _text(content[name]) for name in ("reason", "call", "command", "cause")
    )
    # A reader pastes the command into a shell: it may neither be another, nor say where to write.
    if not _COMMAND.fullmatch(command) or _OF_THE_READER.search(command):
        raise ValueError(f"{command!r:.60} is no command of ppvae")
    return Remedy(reason, call, command, nats, cause)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r:.60}")
    return value
