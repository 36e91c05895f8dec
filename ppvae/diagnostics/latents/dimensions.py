"""The log density of each single dimension of a latent."""

import itertools
from collections.abc import Mapping
from typing import Any

import torch
import xarray as xr
from torch import Tensor

from ppvae.engine import (
    PLATE,
    Site,
    Unsupported,
    density_at,
    factors_of,
    first_line,
    plates,
    support_text,
)

_REFUSED = "one datapoint's draws cannot be scored at another, at latent site"


def factorizes(site: Site) -> bool:
    """Tell whether a site's density is a product over its dimensions; that of one number is."""
    inner = [frame.size for frame in plates(site) if frame.name != PLATE]
    single = site["fn"].event_shape.numel() * torch.Size(inner).numel() == 1
    return single or factors_of(site["fn"]) is not None


def log_densities(site: Site, values: Tensor, draw_dim: int, rows: int) -> Tensor:
    """Score draws by the site's distributions at every datapoint: `(draw, data, column)`, in nats.

    There is a column for each dimension if the site's density is a product, else a single one.

    Args:
        site: a site of a run without draws.
        values: the draws, `(draw, data, *inner plates, *event)`, or `(draw, 1, ...)` to score each
            at every datapoint.
        draw_dim: a batch dimension left of every plate.
        rows: number of datapoints of the run.

    Raises:
        Unsupported: if the distribution has no density at other draws than its own, such as a
            flow without inverse, or the draws lie outside its support.
    """
    whole = site["fn"]
    factors = factors_of(whole)
    shape = [1] * -draw_dim
    shape[draw_dim] = len(values)
    for frame in plates(site):
        shape[frame.dim] = values.shape[1] if frame.name == PLATE else frame.size
    ((position, data_dim),) = (
        (index, frame.dim) for index, frame in enumerate(plates(site)) if frame.name == PLATE
    )
    event_shape = values.shape[values.dim() - whole.event_dim :]
    placed = values.movedim(1, 1 + position).reshape(*shape, *event_shape)
    scores = _scored(site, factors or whole, placed)
    shape[data_dim] = rows
    scores = scores.expand(*shape, *(event_shape if factors else ()))
    columns: Tensor = scores.movedim(data_dim - draw_dim, 1).reshape(len(values), rows, -1)
    return columns if factors else columns.sum(-1, keepdim=True)


def by_site(columns: Tensor, like: Mapping[str, tuple[tuple[str, ...], torch.Size]]) -> xr.Dataset:
    """Arrange one number per dimension, `(column,)`, as one variable per site.

    Args:
        columns: the numbers of all sites, side by side.
        like: dims and shape of one value, by site.
    """
    sizes = [shape.numel() for _, shape in like.values()]
    parts = columns.split(sizes)
    return xr.Dataset(
        {
            name: (dims, part.reshape(shape).cpu().numpy())
            for (name, (dims, shape)), part in zip(like.items(), parts, strict=True)
        }
    )


def flagged(flags: Mapping[Any, xr.DataArray]) -> tuple[str, ...]:
    """Return the names of the flagged dimensions: "z[1]", or "z" where z is a single number.

    Example:
        >>> flagged(xr.Dataset({"z": ("z_dim_0", [True, False, True])}))
        ('z[0]', 'z[2]')
    """
    names = []
    for site, values in flags.items():
        for index in itertools.product(*map(range, values.shape)):
            if values.values[index]:
                names.append(f"{site}[{', '.join(map(str, index))}]" if index else f"{site}")
    return tuple(names)


def _scored(site: Site, distribution: Any, values: Tensor) -> Tensor:
    try:
        return density_at({**site, "fn": distribution}, values)
    except NotImplementedError as error:
        raise Unsupported(
            f"{_REFUSED} {site['name']!r}: {type(distribution).__name__} has no density at other "
            f"draws than its own ({first_line(error)})"
        ) from error
    except ValueError as error:
        if bool(distribution.support.check(values).all()):
            raise
        raise Unsupported(
            f"{_REFUSED} {site['name']!r}: they lie outside its support there, "
            f"{support_text(distribution.support)}"
        ) from error
