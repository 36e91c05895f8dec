"""Values of sites as arrays whose axes are the site's plates and its event."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ppvae.engine import Site, plates


def by_plate(
    value: Tensor, site: Site, sizes: Mapping[str, int], event_dim: int | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Arrange a site's value as `(*plates, *rest)`, expanded to the plates' sizes.

    Args:
        value: of the site, or its log density.
        site: of a trace.
        sizes: of plates without a declared size, as `sizes_of` returns them.
        event_dim: number of event dimensions of the value; those of the site unless given.

    Returns:
        The value, and the names of the plates, left to right.
    """
    frames = plates(site)
    if event_dim is None:
        event_dim = site["fn"].event_dim
        if is_deterministic(site) and event_dim == value.dim():
            # By default `pyro.deterministic` declares all dimensions as event dimensions.
            event_dim, frames = _event_dim(value, frames, sizes)
    depth = value.dim() - event_dim
    batch = max([depth, *(-frame.dim for frame in frames)])
    value = value.reshape((1,) * (batch - depth) + tuple(value.shape))
    # A plate without a declared size repeats nothing: a number of all elements is in no plate.
    frames = [
        frame
        for frame in frames
        if frame.size >= 0 or value.shape[frame.dim + batch] == sizes.get(frame.name, 1)
    ]
    own = {frame.dim + batch: frame.size for frame in frames}
    value = value.expand([own.get(dim, size) for dim, size in enumerate(value.shape)])
    rest = [dim for dim in range(batch) if dim not in own]
    kept = [dim for dim in rest if value.shape[dim] != 1]  # batch dimensions without a plate
    # A plate without a declared size has that of the value.
    shape = [value.shape[dim] for dim in (*own, *kept)]
    events = value.shape[batch:]
    value = value.permute([*own, *rest, *range(batch, value.dim())])
    return value.reshape([*shape, *events]), tuple(frame.name for frame in frames)


def sizes_of(sites: Iterable[Site]) -> dict[str, int]:
    """Return the sizes of plates without a declared size, as the values in them show them."""
    sizes: dict[str, int] = {}
    for site in sites:
        shape = site["value"].shape[: site["value"].dim() - site["fn"].event_dim]
        for frame in plates(site):
            if frame.size < 0 and -frame.dim <= len(shape):
                sizes[frame.name] = max(sizes.get(frame.name, 1), shape[frame.dim])
    return sizes


def _event_dim(
    value: Tensor, frames: list[Any], sizes: Mapping[str, int]
) -> tuple[int, list[Any]]:
    """Return the fewest event dimensions with which a value fits its plates, and the plates.

    Without such a number all dimensions are the event's, and the value is in no plate.
    """
    for event_dim in range(value.dim() + 1):
        batch = value.dim() - event_dim
        if all(
            -frame.dim <= batch
            and value.shape[batch + frame.dim]
            == (frame.size if frame.size >= 0 else sizes.get(frame.name))
            for frame in frames
        ):
            return event_dim, frames
    return value.dim(), []


def is_deterministic(site: Site) -> bool:
    """Tell whether a site comes from `pyro.deterministic`."""
    return bool(site["infer"].get("_deterministic"))
