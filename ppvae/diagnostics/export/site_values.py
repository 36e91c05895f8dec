"""Values of sites as arrays whose axes are the site's plates and its event."""

from typing import Any

from torch import Tensor

from ppvae.engine import Site, plates


def by_plate(
    value: Tensor, site: Site, event_dim: int | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Arrange a site's value as `(*plates, *rest)`, expanded to the plates' sizes.

    Args:
        value: of the site, or its log density.
        site: of a trace.
        event_dim: number of event dimensions of the value; those of the site unless given.

    Returns:
        The value, and the names of the plates, left to right.
    """
    frames = plates(site)
    if event_dim is None:
        event_dim = site["fn"].event_dim
        if is_deterministic(site) and event_dim == value.dim():
            # By default `pyro.deterministic` declares all dimensions as event dimensions.
            event_dim, frames = _event_dim(value, frames)
    depth = value.dim() - event_dim
    batch = max([depth, *(-frame.dim for frame in frames)])
    value = value.reshape((1,) * (batch - depth) + tuple(value.shape))
    sizes = {frame.dim + batch: frame.size for frame in frames}
    value = value.expand([sizes.get(dim, size) for dim, size in enumerate(value.shape)])
    rest = [dim for dim in range(batch) if dim not in sizes]
    kept = [dim for dim in rest if value.shape[dim] != 1]  # batch dimensions without a plate
    # A plate without a declared size has that of the value.
    shape = [value.shape[dim] for dim in (*sizes, *kept)]
    events = value.shape[batch:]
    value = value.permute([*sizes, *rest, *range(batch, value.dim())])
    return value.reshape([*shape, *events]), tuple(frame.name for frame in frames)


def _event_dim(value: Tensor, frames: list[Any]) -> tuple[int, list[Any]]:
    """Return the fewest event dimensions with which a value fits its plates, and the plates.

    Without such a number all dimensions are the event's, and the value is in no plate.
    """
    for event_dim in range(value.dim() + 1):
        batch = value.dim() - event_dim
        if all(
            -frame.dim <= batch and value.shape[batch + frame.dim] == frame.size
            for frame in frames
        ):
            return event_dim, frames
    return value.dim(), []


def is_deterministic(site: Site) -> bool:
    """Tell whether a site comes from `pyro.deterministic`."""
    return bool(site["infer"].get("_deterministic"))
