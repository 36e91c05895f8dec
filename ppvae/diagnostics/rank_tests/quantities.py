"""Arrays of latents or features as datasets, and functions of each of their coordinates."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.engine import Structure


def dataset(
    values: Mapping[str, Tensor], first: str, structure: Structure, attrs: Mapping[str, Any]
) -> xr.Dataset:
    """Name the axes of what each site holds, and of numbers that belong to no site.

    Args:
        values: `(first, *inner plates, *event)` by site.
        first: name of the first dim.
        structure: knows the inner plates of each site.
        attrs: of the dataset.

    Raises:
        ValueError: if a dim has two sizes.
    """
    arrays, sizes = {}, dict[str, int]()
    for name, value in values.items():
        plates = structure.inner_plates.get(name, ())
        events = range(value.dim() - 1 - len(plates))
        dims = (first, *plates, *(f"{name}_dim_{axis}" for axis in events))
        for dim, size in zip(dims, value.shape, strict=True):
            if sizes.setdefault(dim, size) != size or dim == name:
                raise ValueError(
                    f"dim {dim!r} of site {name!r} has the name of a site or of another dim; "
                    "rename the plate or the site"
                )
        arrays[name] = (dims, value.cpu().numpy())
    return xr.Dataset(arrays, attrs=dict(attrs))


def each(
    values: xr.Dataset, first: str, function: Callable[[NDArray[Any]], NDArray[Any]]
) -> xr.Dataset:
    """Apply a function from `(first, quantities)` to `(quantities,)`, to all variables at once.

    Args:
        values: variables with the dim `first`.
        first: the dim that the function takes away.
        function: gets the coordinates of all variables side by side.
    """
    columns = [
        array.transpose(first, ...).values.reshape(values.sizes[first], -1)
        for array in values.values()
    ]
    results = function(np.concatenate(columns, axis=1))
    return _split(values.isel({first: 0}, drop=True), results, values.attrs)


def holm(p_values: xr.Dataset) -> xr.Dataset:
    """Adjust the p-values of all coordinates of a family, so that they hold for it as a whole.

    With the m values in increasing order p_(1) <= ... <= p_(m), the adjusted p_(k) is the largest
    of (m - j + 1) p_(j) over j <= k, at most 1: the probability that any true hypothesis has an
    adjusted value of at most alpha is at most alpha, however the values depend on each other
    (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    Args:
        p_values: one p-value for each coordinate of each variable.

    Example:
        >>> holm(xr.Dataset({"z": ("z_dim_0", [0.01, 0.5, 0.02])})).z.values.tolist()
        [0.03, 0.5, 0.04]
    """
    flat = np.concatenate([array.values.reshape(-1) for array in p_values.values()])
    order = np.argsort(flat)
    steps = flat[order] * np.arange(len(flat), 0, -1)
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return _split(p_values, adjusted, p_values.attrs)


def _split(like: xr.Dataset, results: NDArray[Any], attrs: Mapping[Any, Any]) -> xr.Dataset:
    """Cut numbers into variables of the dims and shapes of others."""
    arrays, start = {}, 0
    for name, array in like.items():
        arrays[name] = (
            array.dims,
            results[..., start : start + array.size].reshape(array.shape),
        )
        start += array.size
    return xr.Dataset(arrays, coords=like.coords, attrs=dict(attrs))
