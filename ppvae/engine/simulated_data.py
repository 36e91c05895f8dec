"""Datapoints simulated from the model of any pair, with the latents that they came from."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import model_draws
from ppvae.engine.batches import Batch
from ppvae.engine.densities import log_prob
from ppvae.engine.draws.drawn import Draws
from ppvae.engine.draws.folding import at_rows
from ppvae.engine.draws.guide_draws import score
from ppvae.engine.errors import Unsupported
from ppvae.engine.execution import run_model
from ppvae.engine.failures import rows_at, sound_rows
from ppvae.engine.masks import is_masked, unmasked
from ppvae.engine.pair import Pair
from ppvae.engine.sites import Site, Sites
from ppvae.engine.structure import Structure, structure_of


@dataclass(frozen=True)
class Simulated:
    """Some datapoints x ~ p(x|z) and their latents z ~ p(z).

    Args:
        batch: the data, as the pair's programs take them.
        truth: the latents and their densities given these data, as one draw, `(1, data)`.
        structure: what `structure_of` says of the pair on these data.
        unscored: sites at which the guide can score its own draws alone, so that log q(z|x) of
            these latents is not known, with the reason.
    """

    batch: Batch
    truth: Draws
    structure: Structure
    unscored: dict[str, str]


def simulations(pair: Pair, template: Batch, count: int, memory: int) -> Iterator[Simulated]:
    """Simulate at least `count` datapoints from the model, some at a time.

    A model runs on data, which give the number of rows, and conditions such as masks or labels.
    They are taken from the template, whose rows are repeated; only what the model observes is
    replaced, and of this not what masks hide. A plate of fixed size simulates more datapoints than
    asked for in the last run.

    Args:
        pair: the model/guide pair.
        template: data of the kind that the pair takes.
        count: number of datapoints.
        memory: bound in bytes on the intermediate tensors.

    Raises:
        ValueError: if `count` or `memory` is not positive.
        Unsupported: if the pair's structure does not allow it, or the model observes what is no
            part of the data's tensors, or reads its own observations.
    """
    if count < 1:
        raise ValueError(f"simulations must be at least 1, got {count}")
    if memory < 1:
        raise ValueError(f"memory must be at least 1 byte, got {memory}")
    size = min(count, len(template[0]))
    try:
        structure = structure_of(pair, _cycled(template, 0, size))
        size = max(1, min(count, int(memory / structure.bytes_per_draw)))
        structure_of(pair, _cycled(template, 0, size))
        flexible = True
    except Exception:  # on all rows, an error of the pair's comes up again
        size, flexible = len(template[0]), False
    for start in range(0, count, size):
        rows = min(size, count - start) if flexible else size
        yield _simulated(pair, _cycled(template, start, rows))


def _cycled(template: Batch, start: int, rows: int) -> Batch:
    """Return copies of rows of the template, starting again at the first after the last."""
    return tuple(
        tensor[torch.arange(start, start + rows, device=tensor.device) % len(tensor)]
        for tensor in template
    )


def _simulated(pair: Pair, template: Batch) -> Simulated:
    structure = structure_of(pair, template)
    for name, reason in structure.unnormalized.items():
        raise Unsupported(f"data cannot be simulated from the model: at site {name!r} {reason}")
    sites = model_draws.simulated_sites(pair, template, structure, None, {})
    for name in structure.latents:
        if is_masked(sites[name]):
            raise Unsupported(
                f"latent site {name!r} is masked, so that the model does not say from where to "
                "simulate it; leave the mask to observed sites"
            )
    batch = observing(pair, template, sites, structure)
    latents = {name: sites[name] for name in structure.latents}
    try:
        structure = structure_of(pair, batch)
    except Unsupported:
        raise
    except ValueError:
        batch, latents, structure = of_sound_simulations(pair, batch, latents)
    truth, unscored = score(pair, batch, structure, latents)
    return Simulated(batch, truth, structure, unscored)


def of_sound_simulations(pair: Pair, batch: Batch, sites: Sites) -> tuple[Batch, Sites, Structure]:
    """Return simulated datapoints, sites and structure without those that the pair fails on.

    The guide fails on some of what the model simulates, most often far-away datapoints. A warning
    counts them.

    Raises:
        Exception: what the pair raises if it fails on most: of the others, nothing follows for the
            model's data.
    """
    rows = sound_rows(pair, batch)
    count = len(batch[0])
    if len(rows) < count <= 2 * len(rows):
        warnings.warn(
            f"the pair fails on {count - len(rows)} of {count} simulated datapoints, which are "
            "left out",
            stacklevel=3,
        )
        batch = rows_at(batch, rows)
        sites = {name: _of_shape(at_rows(site, rows)) for name, site in sites.items()}
    return batch, sites, structure_of(pair, batch)


def _of_shape(site: Site) -> Site:
    """Give a site a distribution of its value's shape."""
    return {**site, "fn": dist.Delta(site["value"], event_dim=site["fn"].event_dim)}


def observing(pair: Pair, template: Batch, sites: Sites, structure: Structure) -> Batch:
    """Return a copy of the template that holds simulated observations in place of its own.

    Args:
        pair: the model/guide pair.
        template: the data on which the model was simulated.
        sites: what `simulated_sites` returned.
        structure: what `structure_of` said of the pair.

    Raises:
        Unsupported: if the model observes what is no part of the data's tensors, or reads its own
            observations.
    """
    batch = _observing(template, sites, structure)
    _check(pair, batch, sites, structure)
    return batch


def _observing(template: Batch, sites: Sites, structure: Structure) -> Batch:
    """Write simulated observations into the tensors that the model observes."""
    batch = tuple(tensor.clone() for tensor in template)
    for name in structure.observed:
        seen, drawn = sites[name]["infer"]["obs"], _kept(sites[name])
        places = [
            place
            for tensor, source in zip(batch, template, strict=True)
            for place in _places(seen, source, tensor)
        ]
        if len(places) != 1 or places[0].numel() != drawn.numel():
            raise Unsupported(_computed(name))
        try:
            places[0].copy_(drawn.reshape(places[0].shape))
        except RuntimeError:  # an expanded view has one number in several places
            raise Unsupported(_computed(name)) from None
    return batch


def _kept(site: Site) -> Tensor:
    """Return what was drawn at an observed site; what masks hide is that of the template."""
    seen, drawn = site["infer"]["obs"], site["value"]
    kept = unmasked({**site, "value": seen})
    while kept.dim() > drawn.dim():  # of enumerated sites, on which a mask of data does not depend
        kept = kept[0]
    return torch.where(kept, drawn, seen.to(drawn.dtype))


def _places(seen: Tensor, source: Tensor, tensor: Tensor) -> list[Tensor]:
    """Return the part of `tensor` where the observation `seen` is in `source`, if there is one.

    An observation is a view of the data, or equals them after a change of dtype.
    """
    if seen.untyped_storage().data_ptr() == source.untyped_storage().data_ptr():
        return [tensor.as_strided(seen.shape, seen.stride(), seen.storage_offset())]
    if seen.numel() == source.numel() and bool((seen.reshape(source.shape) == source).all()):
        return [tensor]
    return []


def _check(pair: Pair, batch: Batch, sites: Sites, structure: Structure) -> None:
    """Refuse a model that observes other values than were simulated, or scores them otherwise."""
    given = poutine.Trace()
    for name, site in sites.items():
        if name not in structure.observed:
            given.add_node(name, **{**site, "infer": {}})
    again = run_model(pair, batch, structure if structure.enumerated else None, given)
    for name in structure.observed:
        if not bool((again[name]["value"] == _kept(sites[name])).all()):
            raise Unsupported(_computed(name))
    if structure.enumerated:  # their densities are those of every value
        return
    for name, site in sites.items():
        drawn, scored = log_prob(site), log_prob(again[name])
        tolerance = torch.finfo(drawn.dtype).eps ** 0.5
        if not torch.allclose(drawn, scored, rtol=tolerance, atol=tolerance):
            raise Unsupported(
                f"site {name!r} has another density once the simulated observations stand in the "
                "data: the model reads its own observations, so that it cannot be simulated in "
                "one run; let it use the values that `pyro.sample` returns"
            )


def _computed(name: str) -> str:
    return (
        f"site {name!r} observes something computed from the data, which simulated data cannot "
        "replace; pass `obs=` a tensor of the batch or a part of it, and compute before"
    )
