"""Arrays as ArviZ data: a group for each role, dims `(chain, draw, ...)`, one chain."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.engine import Unsupported

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


def to_numpy(values: Tensor) -> Array:
    """Return a tensor's values as an array in main memory, without gradient."""
    array: Array = values.detach().cpu().numpy()
    return array


Groups: TypeAlias = Mapping[str, Mapping[str, Variable]]


def arviz_data(
    groups: Groups,
    coords: Mapping[str, Any],
    named: Callable[[xr.Dataset], xr.Dataset] = lambda group: group,
) -> Any:
    """Return groups as ArviZ data: `InferenceData` before ArviZ 1.0, xarray's `DataTree` since.

    Where the first dim is `draw`, a dim `chain` of size 1 is put before it. A slash in a name,
    which would separate groups, becomes a dot. Every dim has a coordinate, counted from 0 unless
    `coords` gives it.

    Args:
        groups: variables by group and name; groups without variables are left out.
        coords: values of the coordinates of dims.
        named: is given each group; returns it with further coordinates.

    Raises:
        Unsupported: if a dim has two sizes, is named twice at a site, or has the name of a site,
            of `chain` or of `draw`; or if two names are equal once slashes are dots.

    Example:
        >>> groups = {"posterior": {"z": Variable(np.zeros((4, 2)), ("draw", "z_dim_0"))}}
        >>> arviz_data(groups, {})["posterior"]["z"].dims
        ('chain', 'draw', 'z_dim_0')
    """
    for group, variables in groups.items():
        for name, variable in variables.items():
            own = variable.dims[group != _OBSERVED :]
            if len(set(own)) < len(own) or set(own) & set(DRAWN):
                raise Unsupported(
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
        group: named(_dataset(variables, coords, libraries))
        for group, variables in groups.items()
        if variables
    }
    if int(version("arviz").split(".")[0]) >= 1:
        return xr.DataTree.from_dict(datasets)
    # Imported here, because it takes seconds and nothing else needs it. It warns of ArviZ 1.0.
    with warnings.catch_warnings(action="ignore", category=FutureWarning):
        from arviz import InferenceData

    return InferenceData(**datasets)


def result_group(name: str, values: xr.Dataset, sample_dim: str | None = None) -> Any:
    """Return the values of a result as ArviZ data of a single group.

    Args:
        name: of the group.
        values: what was measured; the attribute `tests`, if there is one, is kept.
        sample_dim: the dim that becomes ArviZ's `draw`; None if there is none.

    Example:
        >>> ranks = xr.Dataset({"z": ("simulation", [0.1, 0.7])})
        >>> result_group("prior_sbc", ranks, "simulation")["prior_sbc"]["z"].dims
        ('chain', 'draw')
    """
    attrs = {"tests": values.attrs["tests"]} if "tests" in values.attrs else {}
    variables = {}
    for site, array in values.items():
        dims = tuple("draw" if dim == sample_dim else str(dim) for dim in array.dims)
        variables[str(site)] = Variable(array.values, dims, attrs)
    return arviz_data({name: variables}, {str(dim): values[dim].values for dim in values.coords})


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
                raise Unsupported(
                    f"dim {dim!r} has size {size} at site {name!r} and {sizes[dim]} at another; "
                    "give the plates different names"
                )
        arrays[_dotted(name)] = (dims, values, variable.attrs)
    for name in arrays:
        if name in sizes or name in DRAWN:
            raise Unsupported(
                f"site {name!r} has the name of a dim of its group, {', '.join(sizes)}; rename it"
            )
    if len(arrays) < len(variables):
        raise Unsupported(
            f"two of the sites {', '.join(map(repr, variables))} have the same name once '/' is "
            "replaced by '.'; rename one"
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
    """Add groups to ArviZ data; slashes in names of variables and dims become dots.

    Example:
        >>> groups = {"posterior": {"z": Variable(np.zeros((4, 2)), ("draw", "z_dim_0"))}}
        >>> more = with_groups(arviz_data(groups, {}), {"gaps": xr.Dataset({"total": 1.0})})
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
