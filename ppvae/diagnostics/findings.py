"""What a diagnostic found, in plain words."""

import textwrap
from dataclasses import dataclass, field
from enum import Enum

import xarray as xr

from ppvae.diagnostics.remedies import Remedy

_WIDTH, _NAME = 96, 22
_WRAPPED = textwrap.TextWrapper(
    # The name of a file stays whole, so that it can be copied.
    width=_WIDTH - _NAME - 6,
    break_long_words=False,
    break_on_hyphens=False,
)


class Verdict(Enum):
    """How good or bad a finding is."""

    FINE = "fine"
    LOOK = "look"
    BAD = "bad"
    UNKNOWN = "?"


@dataclass(frozen=True)
class Finding:
    """What one diagnostic found.

    Args:
        name: name of the check.
        verdict: how good or bad it is.
        answer: what was measured, in one sentence.
        advice: what it means and what to do, if it is not fine; or why it is not known.
        results: datasets with the numbers, by the name of their group.
        p_value: where the check is a test, the probability of so large a deviation of an exact
            pair, corrected for the number of quantities.
        remedy: what helps most, if it is not fine.
    """

    name: str
    verdict: Verdict
    answer: str
    advice: str = ""
    results: dict[str, xr.Dataset] = field(default_factory=dict)
    p_value: float | None = None
    remedy: Remedy | None = None

    def __str__(self) -> str:
        return self.shown()

    @property
    def advised(self) -> bool:
        """Whether the advice is of use: to what is fine there is nothing to do."""
        return self.verdict is not Verdict.FINE

    def shown(self, run: str | None = None) -> str:
        """Return the finding as text, with a remedy in Python, or as a command for a run."""
        lines = _WRAPPED.wrap(self.answer)
        if self.advised:
            lines += _WRAPPED.wrap(self.advice)
        margin = " " * (_NAME + 6)
        text = f"{self.verdict.value:5} {self.name:{_NAME}}" + f"\n{margin}".join(lines)
        if self.verdict in (Verdict.LOOK, Verdict.BAD) and self.remedy is not None:
            # So far to the left, because a call stays whole.
            text += "".join(f"\n      {line}" for line in self.remedy.lines(run))
        return text


def graded(value: float, look: float, bad: float) -> Verdict:
    """Return "fine" below `look`, "bad" at or above `bad`, "look" between.

    Example:
        >>> graded(0.02, look=0.01, bad=0.1)
        <Verdict.LOOK: 'look'>
    """
    if value < look:
        return Verdict.FINE
    return Verdict.LOOK if value < bad else Verdict.BAD
