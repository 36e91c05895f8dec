"""What helps, as a call that a user can paste."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True)
class Remedy:
    """The one action that helps most against what a check found.

    Args:
        reason: what to do and why, in one sentence without a full stop.
        call: in Python, of the `pair` and `data` of `diagnose(pair, data)`; a statement a line.
        command: on the command line, with `{run}` for the run's folder; "" where there is none.
        nats: how much was measured that it can gain, nats per datapoint, where that is known.
        cause: name of the check that splits these nats into causes, whose remedy comes first.

    Example:
        >>> remedy = Remedy("search", "ppvae.refine(pair, data)", "ppvae refine {run}")
        >>> remedy.lines(), remedy.lines("runs/digits-1")
        (['ppvae.refine(pair, data)'], ['ppvae refine runs/digits-1'])
    """

    reason: str
    call: str
    command: str = ""
    nats: float | None = None
    cause: str = ""

    def lines(self, run: str | None = None) -> list[str]:
        """Return the lines to paste: of the shell if there is a run, else of Python."""
        if run is not None and self.command:
            return [self.command.format(run=shlex.quote(run))]
        return self.call.splitlines()
