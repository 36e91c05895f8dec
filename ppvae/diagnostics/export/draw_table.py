"""Collects draws of a model's sites, one at a time, and turns them into ArviZ groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.diagnostics.export.arviz_groups import Array, Variable, to_numpy
from ppvae.diagnostics.export.fitted_programs import FittedPrograms, Scored
from ppvae.diagnostics.export.site_values import by_plate, is_deterministic, sizes_of
from ppvae.engine import Site, Sites, Unsupported, unnormalized


class DrawTable:
    """The draws of every group, and the dims that each site had in a first run.

    Args:
        sites: the model's sites in a first run.
        dims: the caller's names of dims, by site.

    Raises:
        ValueError: if `dims` names no site, or not all dims of a site.
    """

    def __init__(self, sites: Sites, dims: Mapping[str, tuple[str, ...]]) -> None:
        for name in dims.keys() - sites.keys():
            raise ValueError(f"dims names the site {name!r}; the model has {', '.join(sites)}")
        self.latents = [
            name
            for name, site in sites.items()
            if not site["is_observed"] or is_deterministic(site)
        ]
        self.observed = [name for name in sites if name not in self.latents]
        self.data = [name for name in self.observed if not site_is_factor(sites[name])]
        self.reasons = {name: _reason(name, sites[name]) for name in self.observed}
        self.sizes = sizes_of(sites.values())
        self.plates: dict[str, str] = {}
        self.dims: dict[str, tuple[str, ...]] = {}
        for name, site in sites.items():
            value, plates_of = by_plate(site["value"], site, self.sizes)
            count = value.dim() - len(plates_of)
            names = (*plates_of, *(f"{name}_dim_{axis}" for axis in range(count)))
            if name in dims and len(dims[name]) != len(names):
                raise ValueError(
                    f"dims of site {name!r} must name its {len(names)} dims, by default "
                    f"{names}; got {dims[name]}"
                )
            self.dims[name] = dims.get(name, names)
            self.plates |= dict(zip(self.dims[name], plates_of, strict=False))
        self.observations = {
            name: by_plate(sites[name]["value"], sites[name], self.sizes)[0] for name in self.data
        }
        self.drawn: dict[str, dict[str, list[Tensor]]] = {}
        self.log_weights: list[float] = []
        self._arranged: set[Any] = set()

    def add(self, group: str, sites: Sites, names: list[str]) -> None:
        """Add one draw of some sites to a group.

        Raises:
            Unsupported: if a site is missing, or its shape differs from that of other draws.
        """
        for name in names:
            if name not in sites:
                raise _not_in_every_run(name)
            self._append(group, name, sites[name]["value"], sites[name])

    def add_posterior(self, scored: Scored) -> None:
        """Add one draw of the guide: the model's sites given it, and its densities."""
        sites = scored.joint
        self.add("posterior", sites, self.latents)
        self.check_names(sites)
        for name, values in scored.log_likelihoods.items():
            self._append("log_likelihood", name, values, sites[name], event_dim=0)
        self.log_weights.append(scored.log_weight)

    def _append(
        self, group: str, name: str, value: Tensor, site: Site, event_dim: int | None = None
    ) -> None:
        # Most values are arranged as they are; that need not be found out again at each draw.
        key = (name, event_dim, value.shape, site["fn"].event_dim, site["cond_indep_stack"])
        if key not in self._arranged:
            given, (value, _) = value, by_plate(value, site, self.sizes, event_dim)
            if value.shape == given.shape and value.stride() == given.stride():
                self._arranged.add(key)
        values = self.drawn.setdefault(group, {}).setdefault(name, [])
        if values and values[0].shape != value.shape:
            raise Unsupported(
                f"site {name!r} has the shape {tuple(value.shape)} in one draw and "
                f"{tuple(values[0].shape)} in another; from_pyro_svi needs one shape"
            )
        values.append(value)

    def check_names(self, sites: Sites) -> None:
        """Raise Unsupported if a run of the model has other sites than the first."""
        for name in sites.keys() ^ {*self.latents, *self.observed}:
            raise _not_in_every_run(name)

    def arranged(self, site: Site, event_dim: int | None, values: Tensor) -> Tensor:
        """Return a site's values, or densities, by its plates."""
        return by_plate(values, site, self.sizes, event_dim)[0]

    def add_arrays(self, group: str, arrays: Mapping[str, Tensor]) -> None:
        """Add many draws of some sites to a group, `(draw, ...)` each."""
        for name, array in arrays.items():
            self.drawn.setdefault(group, {}).setdefault(name, []).extend(array.unbind(0))

    def groups(self, programs: FittedPrograms) -> dict[str, dict[str, Variable]]:
        """Return all groups.

        Args:
            programs: say what was summed out and left out.
        """
        groups: dict[str, dict[str, Variable]] = {}
        for group, draws in self.drawn.items():
            groups[group] = {}
            for name, values in draws.items():
                array = to_numpy(torch.stack(values))
                attrs = {}
                if group == "log_likelihood":
                    attrs = {"units": "nats"}
                    if reason := self.reasons[name]:
                        attrs["pseudo_likelihood"] = reason
                    if programs.summed_out:
                        attrs["summed_out"] = ", ".join(programs.summed_out)
                dims = ("draw", *self.dims[name][: array.ndim - 1])
                groups[group][name] = Variable(array, dims, attrs)
        attrs = {"units": "nats"}
        if programs.left_out:
            attrs["left_out"] = f"of the guide: {', '.join(programs.left_out)}"
        log_weight = Variable(np.array(self.log_weights), ("draw",), attrs)
        groups["sample_stats"] = {"log_weight": log_weight}
        groups["observed_data"] = {
            name: Variable(to_numpy(value), self.dims[name])
            for name, value in self.observations.items()
        }
        return groups

    def coords(self, given: Mapping[str, Sequence[Any]], subsamples: Sites) -> dict[str, Any]:
        """Return the caller's coordinates and the indices of the plates' subsamples.

        Raises:
            ValueError: if a dim is unknown, or has another number of values.
        """
        sizes: dict[str, int] = {}
        for name, draws in self.drawn.get("posterior", {}).items():
            sizes |= dict(zip(self.dims[name], draws[0].shape, strict=True))
        for name, value in self.observations.items():
            sizes |= dict(zip(self.dims[name], value.shape, strict=True))
        indices = {
            dim: index
            for dim, plate in self.plates.items()
            if plate in subsamples and (index := _index(subsamples[plate])) is not None
        }
        coords: dict[str, Any] = dict(indices)
        for dim, values in given.items():
            if dim not in sizes:
                raise ValueError(f"coords names the dim {dim!r}; there are {', '.join(sizes)}")
            labels = np.asarray(values)
            # The labels are those of the whole plate; the model runs on a subsample.
            if dim in indices and len(labels) == subsamples[self.plates[dim]]["fn"].size:
                labels = labels[indices[dim]]
            if labels.shape != (sizes[dim],):
                raise ValueError(
                    f"coords of dim {dim!r} must hold {sizes[dim]} values, got {len(values)}"
                )
            coords[dim] = labels
        return coords


def _index(subsample: Site) -> Array | None:
    """Return which elements of its plate a subsample takes.

    None where the program passes the elements themselves, as `subsample=x` allows.
    """
    index, size = np.asarray(torch.as_tensor(subsample["value"]).cpu()), subsample["fn"].size
    if index.ndim != 1 or index.dtype.kind not in "iu" or len(set(index.tolist())) < len(index):
        return None
    inside = (index >= 0).all() and (index < int(size)).all()
    return index if inside else None


def _not_in_every_run(name: str) -> Unsupported:
    return Unsupported(
        f"site {name!r} is not in every run of the model; from_pyro_svi needs the same sites in "
        "all draws"
    )


def _reason(name: str, site: Site) -> str | None:
    """Say why an observed site has no density of the data; None if it has one."""
    try:
        return unnormalized(name, site)
    except NotImplementedError:  # a distribution without a declared support
        return None
