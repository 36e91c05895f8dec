"""Reads one site of a trace: its plates, its scale, its values."""

import math
from collections.abc import Iterable
from typing import Any, TypeAlias

import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor
from torch.distributions.constraints import Constraint

from ppvae.engine.errors import Unsupported
from ppvae.engine.masks import misplaced_mask, unmasked, without_wrappers

Site: TypeAlias = dict[str, Any]
Sites: TypeAlias = dict[str, Site]

PLATE = "data"
"""The name of the plate over datapoints, in the model and in the guide."""


def sample_sites(trace: poutine.Trace) -> Sites:
    """Return the sites of a trace that have a density: `pyro.deterministic` has none."""
    return {
        name: site
        for name, site in prune_subsample_sites(trace).nodes.items()
        if site["type"] == "sample" and not site["infer"].get("_deterministic")
    }


def names_of(sites: Iterable[str]) -> str:
    """Return names of sites as text for a message."""
    return ", ".join(repr(name) for name in sites) or "none"


def plates(site: Site) -> list[Any]:
    """Return the vectorized plates around a site, as Pyro's frames, from left to right."""
    frames = [frame for frame in site["cond_indep_stack"] if frame.vectorized]
    return sorted(frames, key=lambda frame: frame.dim)


def rows_of(site: Site) -> int:
    """Return how many datapoints a site has."""
    return next(int(frame.size) for frame in plates(site) if frame.name == PLATE)


def subsampling(site: Site, *, inner: bool) -> float:
    """Return the factor by which plates scale a site: the data plate's, or that of all others."""
    frames = [frame for frame in plates(site) if (frame.name != PLATE) == inner]
    factors: list[float] = [(frame.full_size or frame.size) / frame.size for frame in frames]
    return math.prod(factors)


def given_scale(site: Site) -> Any:
    """Return the factor that `poutine.scale` gives a site, without that of its plates."""
    return site["scale"] / (subsampling(site, inner=True) * subsampling(site, inner=False))


def base_of(distribution: Any) -> Any:
    """Return what a distribution wraps, event dimensions and masks taken off."""
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution


def factors_of(distribution: dist.Distribution) -> dist.Distribution | None:
    """Return a distribution over vectors as one over their numbers, if those are independent."""
    distribution = _without_event_dims(distribution)
    return distribution if distribution.event_dim == 0 else None


def family_of(site: Site) -> str:
    """Name the family of a site's distribution, its event dimensions taken off."""
    return type(_without_event_dims(site["fn"])).__name__


def _without_event_dims(distribution: Any) -> Any:
    while isinstance(distribution, torch.distributions.Independent):
        distribution = distribution.base_dist
    return distribution


def unnormalized(name: str, site: Site) -> str | None:
    """Say why the log_prob of an observed site is no density of the data; None if it is one.

    Raises:
        ValueError: if a distribution that validates its arguments has data outside its support.
    """
    base = base_of(site["fn"])
    if isinstance(base, dist.Unit):
        return "pyro.factor adds a number that is no density"
    family = type(base).__name__.lstrip("_")
    if not getattr(base, "normalized", True):
        return f"{family} is a pseudo-likelihood, no density of the data"
    if reason := misplaced_mask(site["fn"]):
        return reason
    inside = _inside_support(site)
    if bool(inside.all()):
        return None
    outside = (
        f"{int((~inside).sum())} of {inside.numel()} observations of site {name!r} lie outside "
        f"the support of {family}, {support_text(base.support)}"
    )
    if base._validate_args:
        raise ValueError(f"{outside}; choose a likelihood for such data")
    return outside


def _inside_support(site: Site) -> Tensor:
    """Return which values of a site lie inside its support, or are masked in part, `(*batch)`."""
    inner = without_wrappers(site["fn"])
    kept = unmasked(site)
    if inner.event_dim:
        kept = kept.flatten(-inner.event_dim).all(-1)
    inside: Tensor = inner.support.check(site["value"]) | ~kept
    events = site["fn"].event_dim - inner.event_dim
    return inside.flatten(-events).all(-1) if events else inside


def support_text(support: Constraint) -> str:
    """Write a support with its bounds as numbers, whatever their shape."""
    bounds = [
        f"{float(torch.as_tensor(getattr(support, name)).max()):g}"
        for name in ("lower_bound", "upper_bound")
        if hasattr(support, name)
    ]
    name = type(support).__name__.lstrip("_")
    return f"{name}({', '.join(bounds)})" if bounds else name


def same_mask(first: Any, second: Any) -> bool:
    """Tell whether two sites are masked alike, so that a closed-form KL counts the same rows."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.equal(first, second)
    return first is second


def by_datapoint(value: Tensor, site: Site, draw_dim: int | None) -> Tensor:
    """Arrange a site's value as `(draw, data, *inner plates, *event)`; no draws without their dim.

    Raises:
        Unsupported: if the value has no dimension for the draws, or one that no plate explains.
    """
    event_dim = site["fn"].event_dim
    sizes = {frame.dim: frame.size for frame in plates(site)}
    depth = value.dim() - event_dim
    if draw_dim is not None and (draw_dim not in sizes or depth < -draw_dim):
        raise Unsupported("a latent has no dimension for the draws")
    batch = max(depth, -min(sizes))
    value = value.reshape((1,) * (batch - depth) + tuple(value.shape))
    event_shape = value.shape[batch:]
    unexplained = [dim for dim in range(-batch, 0) if dim not in sizes]
    if any(value.shape[batch + dim] != 1 for dim in unexplained):
        raise Unsupported(
            f"site {site['name']!r} has the shape {tuple(value.shape)}, of which a batch "
            "dimension stands in no plate; declare it by `.to_event(...)` or a plate"
        )
    value = value.expand(*(sizes.get(dim, 1) for dim in range(-batch, 0)), *value.shape[batch:])
    (data_dim,) = (frame.dim for frame in plates(site) if frame.name == PLATE)
    first = [dim for dim in (draw_dim, data_dim) if dim is not None]
    kept = first + [dim for dim in sorted(sizes) if dim not in first]
    events = range(batch, batch + event_dim)
    arranged = value.permute(*(batch + dim for dim in (*unexplained, *kept)), *events)
    return arranged.reshape(*(sizes[dim] for dim in kept), *event_shape)


def unvectorized(site: Site, draw_dim: int) -> Tensor:
    """Return a site's value with the draws first: `(draw, *batch, *event)`."""
    value: Tensor = site["value"]
    position = value.dim() - site["fn"].event_dim + draw_dim
    if position < 0:
        raise Unsupported("a latent has no dimension for the draws")
    return value.movedim(position, 0)


def one_draw(sites: Sites, draw_dim: int, index: int) -> poutine.Trace:
    """Return one of the draws of vectorized sites, as a trace that a run without draws replays."""
    trace = poutine.Trace()
    for name, site in sites.items():
        value = unvectorized(site, draw_dim)[index]
        soft = getattr(site["value"], "_unquantize", None)
        depth = max(-frame.dim for frame in plates(site) if frame.dim != draw_dim)
        while value.dim() > depth + site["fn"].event_dim and value.shape[0] == 1:
            value = value.squeeze(0)  # a plate of another site stood there
        if soft is not None:  # Pyro's straight-through draws carry what log_prob scores
            unrounded = unvectorized({**site, "value": soft}, draw_dim)[index]
            value.__dict__["_unquantize"] = unrounded.reshape(value.shape)
        trace.add_node(name, **{**site, "value": value})
    return trace
