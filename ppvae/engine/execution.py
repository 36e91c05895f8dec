"""Runs the guide and the model of any pair."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import pyro.poutine as poutine

from ppvae.engine.batches import Batch
from ppvae.engine.enumerated_sites import copied_dims, is_enumerated, without_copies
from ppvae.engine.enumeration.runs import (
    AnnotationReached,
    Given,
    asks_for_enumeration,
    by_trying,
    depth_of,
    enumerating,
    enumeration,
    free_dim,
    one_value_each,
)
from ppvae.engine.errors import Unsupported
from ppvae.engine.layout import Layout
from ppvae.engine.pair import Pair
from ppvae.engine.sites import Site, Sites, names_of, sample_sites
from ppvae.engine.tracing import traced


def run_pair(pair: Pair, batch: Batch, *, drawn: bool = False) -> tuple[Sites, Sites]:
    """Run guide and model once; return the guide's and the model's sample sites by name.

    Discrete sites that the guide wants enumerated are, left of all plates, and so are those of a
    model that does not run on single values.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        drawn: draw the guide's discrete sites where the model runs on single values.

    Raises:
        Unsupported: if guide and model do not name the same latents.
        Exception: what guide or model raise, as `traced` says.
    """
    guide, model = run_once(pair, batch, drawn)
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


def run_once(pair: Pair, batch: Batch, drawn: bool = False) -> tuple[Sites, Sites]:
    """Run a pair whose sites are not known yet, enumerated where guide or model need it."""
    failure: Exception | None = None
    guide_trace = run_guide(pair, batch)
    guide = sample_sites(guide_trace)
    names = tuple(name for name, site in guide.items() if asks_for_enumeration(site))
    if drawn or not names:
        annotations = AnnotationReached()
        try:
            with annotations:
                return guide, _run_model(pair, batch, None, guide_trace)
        except Exception as error:  # a model may need all values of its discrete sites at once
            if not (names or annotations.reached):
                raise
            failure = error

    def run(layout: Layout) -> tuple[Sites, Sites]:
        trace = run_guide(pair, batch, None, layout)
        model = _run_model(pair, batch, layout, trace, asks_for_enumeration)
        return without_copies(sample_sites(trace)), without_copies(model)

    return by_trying(run, names, depth_of(guide), failure)


def _enumerable(site: Site) -> bool:
    return bool(getattr(site["fn"], "has_enumerate_support", False))
