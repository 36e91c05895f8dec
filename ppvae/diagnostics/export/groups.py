"""Results in ArviZ's layout: a group for each role, dims `(chain, draw, ...)`, one chain."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.generic]

DRAWN = ("chain", "draw")
_OBSERVED = "observed_data"  # the one group without draws


@dataclass(frozen=True)
class Variable:
    """One array of a group.

    Args:
        values: the array, without an axis for the chain.
        dims: names of its axes.
        attrs: units and remarks, text each.
    """

    values: Array
    dims: tuple[str, ...]
    attrs: dict[str, str] = field(default_factory=dict)


Groups: TypeAlias = Mapping[str, Mapping[str, Variable]]


def tree(groups: Groups, coords: Mapping[str, Any]) -> Any:
    """Make ArviZ data of groups: `InferenceData` before ArviZ 1.0, xarray's `DataTree` from it on.

    In all groups but `observed_data` the first dim is `draw`, and `chain` of size 1 is put before
    it. A slash in a name, which separates groups there, becomes a dot. Every dim has a coordinate,
    counted from 0 unless `coords` has it.

    Args:
        groups: variables by group and name; groups without variables are left out.
        coords: values of the coordinates of dims.

    Raises:
        ValueError: if a dim has two sizes, or stands twice at a site, or has the name of a site or
            of the dims of draws.

    Example:
        >>> groups = {"posterior": {"z": Variable(np.zeros((4, 2)), ("draw", "z_dim_0"))}}
        >>> tree(groups, {})["posterior"]["z"].dims
        ('chain', 'draw', 'z_dim_0')
    """
    for group, variables in groups.items():
        for name, variable in variables.items():
            own = variable.dims[group != _OBSERVED :]
            if len(set(own)) < len(own) or set(own) & set(DRAWN):
                raise ValueError(
                    f"site {name!r} has the dims {', '.join(own)}; they must differ from each "
                    f"other and from {' and '.join(DRAWN)}; rename the plate or the dim"
                )
    coords = {_dotted(dim): values for dim, values in coords.items()}
    libraries = {
        "inference_library": "pyro",
        "inference_library_version": version("pyro-ppl"),
        "creation_library": "ppvae",
        "creation_library_version": version("ppvae"),
    }
    datasets = {
        group: _dataset(variables, coords, libraries)
        for group, variables in groups.items()
        if variables
    }
    if int(version("arviz").split(".")[0]) >= 1:
        return xr.DataTree.from_dict(datasets)
    # The import takes seconds, and nothing else here needs it; it warns of ArviZ 1.0.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        from arviz import InferenceData

    return InferenceData(**datasets)


def _dataset(
    variables: Mapping[str, Variable], coords: Mapping[str, Any], attrs: Mapping[str, str]
) -> xr.Dataset:
    sizes: dict[str, int] = {}
    arrays = {}
    for name, variable in variables.items():
        values, dims = variable.values, tuple(map(_dotted, variable.dims))
        if dims[:1] == ("draw",):
            values, dims = values[None], ("chain", *dims)
        for dim, size in zip(dims, values.shape, strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(
                    f"dim {dim!r} has size {size} at site {name!r} and {sizes[dim]} at another; "
                    "give the plates different names"
                )
        arrays[_dotted(name)] = (dims, values, variable.attrs)
    for name in arrays:
        if name in sizes or name in DRAWN:
            raise ValueError(
                f"site {name!r} has the name of a dim of its group, {', '.join(sizes)}; rename it"
            )
    if len(arrays) < len(variables):
        raise ValueError(
            f"among the sites {', '.join(map(repr, variables))} two get the same name when '/' "
            "becomes '.'; rename one"
        )
    return xr.Dataset(
        arrays,
        coords={dim: coords.get(dim, np.arange(size)) for dim, size in sizes.items()},
        attrs=attrs,
    )


def _with_dots(data: xr.Dataset) -> xr.Dataset:
    names = {name for name in (*data.variables, *data.dims) if "/" in str(name)}
    return data.rename({name: _dotted(str(name)) for name in names})


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def with_groups(base: Any, datasets: Mapping[str, xr.Dataset]) -> Any:
    """Return ArviZ data with further groups, with dots for the slashes in their names.

    Example:
        >>> groups = {"posterior": {"z": Variable(np.zeros((4, 2)), ("draw", "z_dim_0"))}}
        >>> more = with_groups(tree(groups, {}), {"gaps": xr.Dataset({"total": 1.0})})
        >>> more["gaps"]["total"].item()
        1.0
    """
    datasets = {name: _with_dots(data) for name, data in datasets.items()}
    if isinstance(base, xr.DataTree):
        own = {name: node.to_dataset() for name, node in base.children.items()}
        return xr.DataTree.from_dict({**own, **datasets})
    with warnings.catch_warnings(action="ignore"):  # of groups that ArviZ 0.x does not know
        base.add_groups({name: data.copy() for name, data in datasets.items()})
    return base
