"""Runs the guide and the model of any pair."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyro.poutine as poutine
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_messenger import TraceMessenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.enumerated_runs import (
    AnnotationReached,
    Given,
    asks_for_enumeration,
    enumerating,
    enumeration,
    free_dim,
    one_value_each,
)
from ppvae.engine.enumeration import copied_dims, is_enumerated, without_copies
from ppvae.engine.errors import Unsupported, noted
from ppvae.engine.layout import Layout
from ppvae.engine.pair import Pair, Program
from ppvae.engine.row_parameters import other_rows
from ppvae.engine.sites import Site, Sites, names_of, plates, sample_sites


def run_pair(pair: Pair, batch: Batch) -> tuple[Sites, Sites]:
    """Run guide and model once; return the guide's and the model's sample sites by name.

    Raises:
        Unsupported: if guide and model do not name the same latents.
        Exception: what guide or model raise, as `traced` says.
    """
    guide, model = run_once(pair, batch)
    latents = [name for name, site in model.items() if not site["is_observed"]]
    for name in latents:
        if name not in guide and not _enumerable(model[name]):
            raise Unsupported(
                f"latent site {name!r} of the model is missing from the guide, which has "
                f"{names_of(guide)}; sample it there under the same name"
            )
    for name, site in guide.items():
        known = site["is_observed"] or site["infer"].get("is_auxiliary") or is_enumerated(site)
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
    guide_trace = run_guide(pair, batch, replayed, layout)
    guide, model = sample_sites(guide_trace), _run_model(pair, batch, layout, guide_trace)
    if layout is None or not layout.enumerated:
        return guide, model
    return without_copies(guide), without_copies(model)


def run_guide(
    pair: Pair,
    batch: Batch,
    replayed: poutine.Trace | None = None,
    layout: Layout | None = None,
) -> poutine.Trace:
    """Run the guide alone and return its trace.

    Where sites are enumerated, the others have one value each, a draw of q(z|x) with these sites
    summed out; it is repeated where the guide has draws for each enumerated value.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        replayed: values for the guide's sites, instead of draws.
        layout: names the discrete sites that the guide enumerates; without it they are drawn.

    Raises:
        Exception: what the guide raises, as `traced` says.
    """
    if layout is None or not layout.enumerated:
        guide = pair.guide if replayed is None else poutine.replay(pair.guide, trace=replayed)
        return traced(guide, batch, "the guide ran")
    given = {} if replayed is None else dict(replayed.nodes)
    given = {name: site for name, site in given.items() if name not in layout.enumerated}
    trace = _enumerated_guide(pair, batch, layout, given)
    guide_sites = sample_sites(trace)
    if not any(
        copied_dims(site)
        for name, site in guide_sites.items()
        if name not in given and not is_enumerated(site)
    ):
        return trace
    # Of the trace also the rows that plates have picked.
    chosen = {**trace.nodes, **one_value_each(guide_sites, layout.draw_dim), **given}
    return _enumerated_guide(
        pair, batch, layout, {n: site for n, site in chosen.items() if n not in layout.enumerated}
    )


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
    if layout is not None and layout.enumerated:
        given = with_enumerated(pair, batch, layout, given)
    return _run_model(pair, batch, layout, given)


def with_enumerated(
    pair: Pair, batch: Batch, layout: Layout, given: poutine.Trace
) -> poutine.Trace:
    """Add the sites that the guide enumerates to given ones, as the model meets them in training.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        layout: names the enumerated sites.
        given: values of latent sites.

    Raises:
        Exception: what the guide raises, as `traced` says.
    """
    seen = run_guide(pair, batch, given, layout).nodes
    extended = poutine.Trace()
    for name, site in given.nodes.items():
        if name not in layout.enumerated:
            extended.add_node(name, **(seen.get(name, site)))
    for name, site in seen.items():
        if site["type"] == "sample" and is_enumerated(site):
            extended.add_node(name, **site)
    return extended


def _run_model(
    pair: Pair,
    batch: Batch,
    layout: Layout | None,
    given: poutine.Trace,
    wanted: Callable[[Site], bool] | None = None,
) -> Sites:
    """Run the model; the guide's enumerated sites are among those given, if there are any."""
    model = pair.model
    around: Any = nullcontext()
    if layout is not None and (layout.marginalized or wanted):
        names = frozenset(layout.marginalized)
        model = enumerating(model, wanted or (lambda site: site["name"] in names))
        first = layout.draw_dim - 1
        if wanted or layout.enumerated:
            first = free_dim(layout.draw_dim)
        around = enumeration(first, given.nodes.values())
        model = Given(given.nodes, repeated=False)(model)
    else:
        model = poutine.replay(model, trace=given)
    with around:
        return sample_sites(traced(model, batch, "the model ran"))


def _enumerated_guide(
    pair: Pair, batch: Batch, layout: Layout, given: Mapping[str, Site]
) -> poutine.Trace:
    guide = enumerating(pair.guide, lambda site: site["name"] in layout.enumerated)
    with enumeration(free_dim(layout.draw_dim), []):
        return traced(Given(given, repeated=True)(guide), batch, "the guide ran")


_DEEPEST = 4  # plates that the model alone may have


@dataclass(frozen=True)
class _Trial(Layout):
    """What is known of a pair before its model has run."""


def run_once(pair: Pair, batch: Batch) -> tuple[Sites, Sites]:
    """Run a pair whose sites are not known yet, enumerated where guide or model need it.

    All that enumeration needs to know is how many plates there are. It is found by trying.
    """
    failure: Exception | None = None
    guide_trace = run_guide(pair, batch)
    guide = sample_sites(guide_trace)
    names = tuple(name for name, site in guide.items() if asks_for_enumeration(site))
    if not names:
        annotations = AnnotationReached()
        try:
            with annotations:
                return guide, _run_model(pair, batch, None, guide_trace)
        except Exception as error:  # a model may need all values of its discrete sites at once
            if not annotations.reached:
                raise
            failure = error
    depth = _depth(guide)
    for _ in range(_DEEPEST):
        trial = _Trial((), (), names, (), -depth - 1)
        try:
            trace = run_guide(pair, batch, None, trial)
            model = _run_model(pair, batch, trial, trace, asks_for_enumeration)
        except Exception as error:
            failure, depth = failure or error, depth + 1
            continue
        found = max(depth, _depth(model))
        if found == depth:
            return without_copies(sample_sites(trace)), without_copies(model)
        depth = found
    assert failure is not None
    raise failure


def _depth(sites: Sites) -> int:
    return max((-frame.dim for site in sites.values() for frame in plates(site)), default=0)


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


def _enumerable(site: Site) -> bool:
    return bool(getattr(site["fn"], "has_enumerate_support", False))
