"""Runs the guide and the model of any pair."""

from contextlib import nullcontext
from typing import Any

import pyro.poutine as poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_messenger import TraceMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.errors import Unsupported, noted
from ppvae.engine.layout import Layout
from ppvae.engine.pair import Pair, Program
from ppvae.engine.sites import Site, Sites, names_of, sample_sites


def run_pair(pair: Pair, batch: Batch) -> tuple[Sites, Sites]:
    """Run guide and model once; return the guide's and the model's sample sites by name.

    Raises:
        Unsupported: if guide and model do not name the same latents.
        Exception: what guide or model raise, as `traced` says.
    """
    guide, model = execute(pair, batch)
    latents = [name for name, site in model.items() if not site["is_observed"]]
    for name in latents:
        if name not in guide and not _enumerable(model[name]):
            raise Unsupported(
                f"latent site {name!r} of the model is missing from the guide, which has "
                f"{names_of(guide)}; sample it there under the same name"
            )
    for name, site in guide.items():
        known = site["is_observed"] or site["infer"].get("is_auxiliary")
        if name not in latents and not known:
            raise Unsupported(
                f"latent site {name!r} of the guide is missing from the model, which has "
                f"{names_of(latents)}; sample it there under the same name, or mark it "
                'infer={"is_auxiliary": True}'
            )
    return guide, model


def execute(
    pair: Pair,
    batch: Batch,
    layout: Layout | None = None,
    replayed: poutine.Trace | None = None,
) -> tuple[Sites, Sites]:
    """Run guide and model once and return their sample sites, unchecked.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        layout: names the discrete sites to be summed out and the first free dimension for it.
        replayed: values for the guide's sites, instead of draws.

    Raises:
        Exception: what guide or model raise, as `traced` says.
    """
    guide_trace = run_guide(pair, batch, replayed)
    return sample_sites(guide_trace), run_model(pair, batch, layout, guide_trace)


def run_guide(pair: Pair, batch: Batch, replayed: poutine.Trace | None = None) -> poutine.Trace:
    """Run the guide alone and return its trace.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        replayed: values for the guide's sites, instead of draws.

    Raises:
        Exception: what the guide raises, as `traced` says.
    """
    guide = pair.guide if replayed is None else poutine.replay(pair.guide, trace=replayed)
    return traced(guide, batch, "the guide ran")


def run_model(pair: Pair, batch: Batch, layout: Layout | None, given: poutine.Trace) -> Sites:
    """Run the model alone and return its sample sites.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        layout: names the discrete sites to be summed out and the first free dimension for it;
            without it they are drawn.
        given: latent sites whose values are taken from here; others are drawn.

    Raises:
        Exception: what the model raises, as `traced` says.
    """
    model = pair.model
    enumeration: Any = nullcontext()
    if layout is not None and layout.marginalized:
        names = frozenset(layout.marginalized)
        model = poutine.infer_config(
            model, lambda site: {"enumerate": "parallel"} if site["name"] in names else {}
        )
        enumeration = poutine.enum(first_available_dim=layout.draw_dim - 1)
    with enumeration:
        return sample_sites(traced(poutine.replay(model, trace=given), batch, "the model ran"))


def traced(program: Program, batch: Batch, event: str) -> poutine.Trace:
    """Run a program once and return its trace.

    An exception of the program keeps its type, message and traceback. `poutine.trace(program)`
    would replace it by one of its own, with a table of shapes as message.

    Args:
        program: the model or the guide.
        batch: what it is called with.
        event: what happened, for the note of an exception, such as "the guide ran".

    Raises:
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

    with noted(place), recorder:
        program(*batch)
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


def _enumerable(site: Site) -> bool:
    return bool(getattr(site["fn"], "has_enumerate_support", False))
