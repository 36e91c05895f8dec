"""Runs a program with given values, with or without its observations."""

from collections.abc import Callable
from typing import Any

import pyro.poutine as poutine
import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_messenger import TraceMessenger
from pyro.poutine.util import site_is_factor, site_is_subsample

from ppvae.engine import Site, SiteReached, Sites, Unsupported, base_of, first_line


def replayed(
    name: str, run: Callable[[], Any], given: Sites, *, simulated: bool, remedy: str
) -> poutine.Trace:
    """Run a program and return its trace; its exceptions keep type, message and traceback.

    `poutine.trace(program)` would replace them by exceptions of its own.

    Args:
        name: what to call the program in a message.
        run: the program, with its arguments.
        given: sites by name, whose values are taken.
        simulated: draw the observed sites.
        remedy: what a message adds where a site has no sampler.

    Raises:
        Unsupported: if a site cannot be drawn from, or given values do not fit.
    """
    recorder, replay = TraceMessenger(), _Replay(given, simulated=simulated)
    try:
        with recorder, replay:
            run()
    except Exception as error:
        reached = replay.reached
        if reached.site is not None:
            if isinstance(error, NotImplementedError) and reached.has_no_sampler():
                raise Unsupported(
                    f"the {name} cannot be drawn from: at site {reached.site['name']!r} "
                    f"{family_of_base(reached.site)} has no sampler ({first_line(error)}){remedy}"
                ) from error
            error.add_note(f"while the {name} ran, at or after {reached.site['name']!r}")
        raise
    return recorder.trace


def family_of_base(site: Site) -> str:
    """Name the family that a site's distribution wraps."""
    return type(base_of(site["fn"])).__name__.lstrip("_")


class _Replay(Messenger):  # type: ignore[misc]
    """Takes given values for latents and subsamples; draws observed sites if so asked.

    One handler in place of Pyro's two and of `SiteReached`: each costs time at each site.

    Args:
        given: sites by name.
        simulated: draw the observed sites; deterministic ones and factors stay as they are.

    Attributes:
        reached: the last site reached.
    """

    def __init__(self, given: Sites, *, simulated: bool) -> None:
        super().__init__()
        self.given = given
        self.simulated = simulated
        self.reached = SiteReached()

    def _pyro_sample(self, msg: Any) -> None:
        self.reached.site = msg
        deterministic = msg["infer"].get("_deterministic")
        if self.simulated and msg["is_observed"] and not deterministic and not site_is_factor(msg):
            msg["infer"] = {**msg["infer"], "was_observed": True, "obs": msg["value"]}
            msg["is_observed"], msg["value"], msg["done"] = False, None, False
        if msg["is_observed"] or (given := self.given.get(msg["name"])) is None:
            return
        if given["is_observed"]:
            raise Unsupported(
                f"site {msg['name']!r} is latent in the model and observed in the guide; give the "
                "guide's another name"
            )
        picked = msg["value"] is not None and site_is_subsample(msg)
        if picked and not _same(msg["value"], given["value"]):
            raise Unsupported(
                f"the program picks other rows in each run for the plate {msg['name']!r}; let the "
                "plate pick them: `with pyro.plate(name, size, subsample_size) as index`"
            )
        # Not done: enumeration has to see what the site depends on. It leaves the value as it is.
        msg["value"] = given["value"]
        msg["infer"] = {key: value for key, value in msg["infer"].items() if key != "enumerate"}


def _same(first: Any, second: Any) -> bool:
    if first is second:
        return True
    return torch.equal(torch.as_tensor(first), torch.as_tensor(second))
