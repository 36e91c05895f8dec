"""Runs a program and records its sites."""

from typing import Any

import pyro.poutine as poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_messenger import TraceMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.errors import Unsupported, noted
from ppvae.engine.pair import Program
from ppvae.engine.row_parameters import other_rows
from ppvae.engine.sites import Site


def traced(program: Program, batch: Batch, event: str) -> poutine.Trace:
    """Run a program once and return its trace.

    An exception of the program keeps its type, message and traceback. `poutine.trace(program)`
    would replace it by one of its own, with a table of shapes as message.

    Args:
        program: the model or the guide.
        batch: what it is called with.
        event: what happened, for the note of an exception, such as "the guide ran".

    Raises:
        Unsupported: if a parameter seems to have a row for each of other datapoints.
        Exception: what the program raises, with a note of the data's shape and the last site.
    """
    recorder = TraceMessenger()

    def place() -> str:
        tensors = (value for value in batch if isinstance(value, Tensor))
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "()"
        nodes = recorder.trace.nodes.items()
        sampled = [(name, site) for name, site in nodes if site["type"] == "sample"]
        seen = [name for name, site in sampled if not site_is_subsample(site)]
        after = f", after site {seen[-1]!r}" if seen else ""
        return f"while {event} on data of shape {shapes}{after}"

    try:
        with noted(place), recorder:
            program(*batch)
    except (ValueError, RuntimeError, IndexError) as error:
        reason = other_rows(program, recorder.trace, batch, error)
        if reason is None:
            raise
        raise Unsupported(f"{reason}, {place()}") from error
    trace: poutine.Trace = recorder.trace
    return trace


class SiteReached(Messenger):  # type: ignore[misc]
    """Remembers the last sample site that a program has reached.

    Attributes:
        site: the site, whether or not its draw succeeded; None before the first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.site: Site | None = None

    def _pyro_sample(self, msg: Any) -> None:
        self.site = msg

    def has_no_sampler(self) -> bool:
        """Tell whether the site's distribution cannot be drawn from; draws from it to find out."""
        if self.site is None:
            return False
        try:
            self.site["fn"].sample()
        except NotImplementedError:
            return True
        return False
