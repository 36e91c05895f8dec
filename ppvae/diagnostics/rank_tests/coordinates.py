"""Values of sites as named arrays, and functions of each of their coordinates."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.engine import Structure, Unsupported


def site_dataset(
    values: Mapping[str, Tensor], first: str, structure: Structure, attrs: Mapping[str, Any]
) -> xr.Dataset:
    """Turn values of sites into a dataset whose dims are named after plates and sites.

    Args:
        values: `(first, *inner plates, *event)` by site; a name that is no site has no plates.
        first: name of the first dim.
        structure: knows the inner plates of each site.
        attrs: of the dataset.

    Raises:
        Unsupported: if a dim would have two sizes, or the name of a site.
    """
    arrays, sizes = {}, dict[str, int]()
    for name, value in values.items():
        plates = structure.inner_plates.get(name, ())
        events = range(value.dim() - 1 - len(plates))
        dims = (first, *plates, *(f"{name}_dim_{axis}" for axis in events))
        for dim, size in zip(dims, value.shape, strict=True):
            if sizes.setdefault(dim, size) != size or dim == name:
                raise Unsupported(
                    f"dim {dim!r} of site {name!r} has the name of a site or of another dim; "
                    "rename the plate or the site"
                )
        arrays[name] = (dims, value.cpu().numpy())
    return xr.Dataset(arrays, attrs=dict(attrs))


def map_columns(
    values: xr.Dataset, first: str, function: Callable[[NDArray[Any]], NDArray[Any]]
) -> xr.Dataset:
    """Apply a function from `(first, columns)` to `(columns,)` once to all variables.

    Args:
        values: variables with the dim `first`; each of their other coordinates is a column.
        first: the dim that the function removes.
        function: is given the columns of all variables side by side.
    """
    columns = [
        array.transpose(first, ...).values.reshape(values.sizes[first], -1)
        for array in values.values()
    ]
    results = function(np.concatenate(columns, axis=1))
    return unflattened(results, values.isel({first: 0}, drop=True), values.attrs)


def unflattened(numbers: NDArray[Any], like: xr.Dataset, attrs: Mapping[Any, Any]) -> xr.Dataset:
    """Cut numbers, in the order of the variables of `like`, into variables of their shapes."""
    arrays, start = {}, 0
    for name, array in like.items():
        part = numbers[..., start : start + array.size]
        arrays[name] = (array.dims, part.reshape(array.shape))
        start += array.size
    return xr.Dataset(arrays, coords=like.coords, attrs=dict(attrs))
