"""Reads the sites of a run in which Pyro has enumerated some of them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ppvae.engine.sites import Site, Sites, plates


def is_enumerated(site: Site) -> bool:
    """Tell whether a site has all its values at once."""
    return site["infer"].get("_enumerate_dim") is not None


def depends_on_enumerated(site: Site) -> bool:
    """Tell whether a site's distribution differs between the values of an enumerated site."""
    shape = site["fn"].batch_shape
    ids: Mapping[int, int] = site["infer"].get("_dim_to_id", {})
    return any(-dim <= len(shape) and shape[dim] > 1 for dim in ids)


def one_valued(sites: Sites) -> Sites:
    """Return the sites that are not enumerated."""
    return {name: site for name, site in sites.items() if not is_enumerated(site)}


def plate_sizes(site: Site) -> dict[int, int]:
    """Return the sizes of the plates around a site by dimension.

    A plate without a size, which is -1 to Pyro, has that of the site.
    """
    shape = site["fn"].batch_shape
    return {
        frame.dim: frame.size if frame.size > 0 or -frame.dim > len(shape) else shape[frame.dim]
        for frame in plates(site)
    }


def plate_shape(site: Site, dims: int = 0) -> list[int]:
    """Return the shape of a site's plates, with 1 elsewhere, and at least so many dimensions."""
    sizes = plate_sizes(site)
    shape = [1] * max(dims, -min(sizes, default=0))
    for dim, size in sizes.items():
        shape[dim] = max(size, 1)
    return shape


def support_of(site: Site) -> Tensor:
    """Return all values of a site, `(value, *event)`."""
    fn = site["fn"]
    values: Tensor = fn.enumerate_support(expand=False)
    return values.reshape(-1, *fn.event_shape)


def copied_dims(site: Site) -> dict[int, int]:
    """Return the enumerated dimensions that a site's value has, with the ids of their sites."""
    ids: Mapping[int, int] = site["infer"].get("_dim_to_id", {})
    shape = site["value"].shape[: site["value"].dim() - site["fn"].event_dim]
    return {dim: id_ for dim, id_ in ids.items() if -dim <= len(shape) and shape[dim] > 1}


def at(site: Site, indices: Mapping[int, Tensor]) -> Site:
    """Return a site at one value of each enumerated site, its dimensions left of plates gone.

    Args:
        site: a site that is not enumerated itself.
        indices: the places in their supports by the ids of the enumerated sites; the first where
            there is none.
    """
    value, events = site["value"], site["fn"].event_dim
    for dim, id_ in copied_dims(site).items():
        index = indices.get(id_)
        if index is None:
            value = value.narrow(dim - events, 0, 1)
            continue
        batch = list(torch.broadcast_shapes(value.shape[: value.dim() - events], index.shape))
        value = value.expand(*batch, *value.shape[value.dim() - events :])
        batch[dim] = 1
        place = index.reshape(*index.shape, *(1,) * events)
        place = place.expand(*batch, *value.shape[value.dim() - events :])
        value = value.gather(value.dim() + dim - events, place)
    depth = -min((frame.dim for frame in plates(site)), default=0)
    while value.dim() > depth + events and value.shape[0] == 1:
        value = value.squeeze(0)
    return {**site, "value": value}


def without_copies(sites: Sites) -> Sites:
    """Return the sites of an enumerated run, those that were given without their equal copies."""
    return {
        name: at(site, {})
        if not is_enumerated(site) and not site["is_observed"] and copied_dims(site)
        else site
        for name, site in sites.items()
    }
