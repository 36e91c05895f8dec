"""Collects draws of a model's sites, one at a time, and turns them into ArviZ groups."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.diagnostics.export.arviz_groups import Variable, to_numpy
from ppvae.diagnostics.export.site_values import by_plate, is_deterministic
from ppvae.engine import Site, Sites, Unsupported, log_prob, unnormalized


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
        self.plates: dict[str, str] = {}
        self.dims: dict[str, tuple[str, ...]] = {}
        for name, site in sites.items():
            value, plates_of = by_plate(site["value"], site)
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
            name: by_plate(sites[name]["value"], sites[name])[0] for name in self.data
        }
        self.drawn: dict[str, dict[str, list[Tensor]]] = {}
        self.log_weights: list[float] = []

    def add(self, group: str, sites: Sites, names: list[str]) -> None:
        """Add one draw of some sites to a group.

        Raises:
            Unsupported: if a site is missing, or its shape differs from that of other draws.
        """
        for name in names:
            if name not in sites:
                raise _not_in_every_run(name)
            self._append(group, name, by_plate(sites[name]["value"], sites[name])[0])

    def add_posterior(self, sites: Sites, log_weight: float) -> None:
        """Add one draw of the guide: the model's sites given it, and its log weight in nats."""
        self.add("posterior", sites, self.latents)
        for name in sites.keys() - {*self.latents, *self.observed}:
            raise _not_in_every_run(name)
        for name in self.observed:
            values = by_plate(log_prob(sites[name]), sites[name], event_dim=0)[0]
            self._append("log_likelihood", name, values)
        self.log_weights.append(log_weight)

    def _append(self, group: str, name: str, value: Tensor) -> None:
        values = self.drawn.setdefault(group, {}).setdefault(name, [])
        if values and values[0].shape != value.shape:
            raise Unsupported(
                f"site {name!r} has the shape {tuple(value.shape)} in one draw and "
                f"{tuple(values[0].shape)} in another; from_pyro_svi needs one shape"
            )
        values.append(value)

    def groups(self) -> dict[str, dict[str, Variable]]:
        """Return all groups."""
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
                dims = ("draw", *self.dims[name][: array.ndim - 1])
                groups[group][name] = Variable(array, dims, attrs)
        log_weight = Variable(np.array(self.log_weights), ("draw",), {"units": "nats"})
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
            dim: to_numpy(subsamples[plate]["value"])
            for dim, plate in self.plates.items()
            if plate in subsamples
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
