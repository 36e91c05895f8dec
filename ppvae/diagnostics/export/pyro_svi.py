"""The result of any stochastic variational inference in Pyro, as ArviZ data."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyro.poutine as poutine
import torch
from pyro.infer.autoguide import AutoCallable, AutoGuide
from pyro.poutine.guide import GuideMessenger
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Tensor

from ppvae.diagnostics.export.groups import Array, Variable, tree
from ppvae.engine import (
    SimulationMessenger,
    Site,
    Sites,
    isolated,
    log_prob,
    plates,
    sample_sites,
    scaled_log_prob,
    seeded,
    seeds,
    unnormalized,
)

Program = Callable[..., Any]


def from_pyro_svi(
    model: Program,
    guide: Program,
    *args: Any,
    draws: int = 1000,
    seed: int = 0,
    coords: Mapping[str, Sequence[Any]] | None = None,
    dims: Mapping[str, Sequence[str]] | None = None,
    predictive: bool = True,
    **kwargs: Any,
) -> Any:
    """Draw from a fitted guide and hand draws, densities and data to ArviZ.

    For any model and guide of `pyro.infer.SVI`, called as in `svi.step(*args, **kwargs)`:
    autoguides, `pyro.param`, modules; latents global, in plates, or both. The groups, with one
    chain of independent draws:

    - `posterior`: the latents z ~ q(z), with the `pyro.deterministic` sites at them;
    - `log_likelihood`: log p(x_i|z) of each observed site, in nats, one value for each
      combination of its plates, without the factors of `poutine.scale` and of subsampling;
    - `sample_stats`: `log_weight` = log p(x, z) - log q(z) of the whole model, in nats, with all
      such factors: its mean is the ELBO of `Trace_ELBO`;
    - `posterior_predictive`: x ~ p(x|z) at these draws;
    - `prior` and `prior_predictive`: draws from the model alone;
    - `observed_data`.

    Dims are `(chain, draw)`, then the names of the plates around a site, from left to right, then
    `<site>_dim_0`, ... for the dimensions of one value. Sites in sequential plates stand under
    the names that the model gives them. Values are expanded to the plates' full shapes. A random
    subsample of a plate is drawn once, under `seed`, and is the same for all draws; the plate's
    coordinate holds its indices. Auxiliary sites of the guide are left out. Where a site is no
    density of the data, the attribute `pseudo_likelihood` of its log likelihood says why.

    Draws are taken one by one, so that any program works; parameters, training mode and random
    state are left as they were.

    Args:
        model: the model.
        guide: the guide, fitted.
        args: passed on to both.
        draws: number of draws.
        seed: of the draws.
        coords: values of the coordinate of a dim; counted from 0 where not given.
        dims: names of a site's dims after `(chain, draw)`, plates included.
        predictive: draw from the model too, for the two predictive groups and `prior`.
        kwargs: passed on to both.

    Returns:
        `arviz.InferenceData` with ArviZ 0.x, `xarray.DataTree` with ArviZ 1.x; either is written
        by `.to_netcdf(path)`.

    Raises:
        TypeError: if the guide is a GuideMessenger.
        ValueError: if a latent is in the model or the guide only, as with enumeration; if sites
            or shapes differ between draws; if `coords` or `dims` do not fit; or if the model
            cannot be drawn from.

    Example:
        >>> import pyro
        >>> import pyro.distributions as dist
        >>> from pyro.infer.autoguide import AutoNormal
        >>> def model(x):
        ...     loc = pyro.sample("loc", dist.Normal(0.0, 1.0))
        ...     with pyro.plate("person", len(x)):
        ...         pyro.sample("height", dist.Normal(loc, 1.0), obs=x)
        >>> with pyro.get_param_store().scope():
        ...     guide = AutoNormal(model)
        ...     svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({}), pyro.infer.Trace_ELBO())
        ...     loss = svi.step(torch.zeros(3))
        ...     results = from_pyro_svi(model, guide, torch.zeros(3), draws=10)
        >>> results["log_likelihood"]["height"].dims
        ('chain', 'draw', 'person')
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if _unfitted(guide):
        raise ValueError(
            f"the guide, an {type(guide).__name__}, has not run yet; fit it by svi.step first"
        )
    if isinstance(poutine.unwrap(guide), GuideMessenger):
        raise TypeError(
            "guide is a GuideMessenger, which runs within its model; from_pyro_svi needs a guide "
            "that is called on its own, such as an AutoGuide"
        )
    programs = _Programs(model, guide, args, kwargs)
    with isolated(SimpleNamespace(model=model, guide=guide), seed):
        with seeded(seed):
            sites = programs.look()
        table = _Table(sites, {name: tuple(names) for name, names in (dims or {}).items()})
        for _, apart in zip(range(draws), seeds(seed), strict=False):
            drawn, joint, log_weight = programs.run()
            table.add_posterior(joint, log_weight)
            if predictive:
                with seeded(apart):
                    table.add("posterior_predictive", programs.simulate(drawn), table.data)
                    anew = programs.simulate({})
                    table.add("prior", anew, table.latents)
                    table.add("prior_predictive", anew, table.data)
    return tree(table.groups(), table.coords(coords or {}, programs.subsamples))


@dataclass
class _Programs:
    """Model and guide with their arguments, and the subsamples that all runs share."""

    model: Program
    guide: Program
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    subsamples: Sites = field(default_factory=dict)

    def look(self) -> Sites:
        """Run once to fix the subsamples, check the latents and return the model's sites."""
        guide = poutine.trace(self.guide).get_trace(*self.args, **self.kwargs)
        replayed = poutine.replay(self.model, trace=guide)
        model = poutine.trace(replayed).get_trace(*self.args, **self.kwargs)
        for trace in (guide, model):
            self.subsamples |= {
                name: site for name, site in trace.nodes.items() if site_is_subsample(site)
            }
        latents = {name for name, site in sample_sites(model).items() if not site["is_observed"]}
        drawn = {
            name
            for name, site in sample_sites(guide).items()
            if not site["is_observed"] and not site["infer"].get("is_auxiliary")
        }
        for name in sorted(latents - drawn):
            raise ValueError(
                f"latent site {name!r} of the model is missing from the guide, so its posterior "
                "is not known; from_pyro_svi needs every latent drawn by the guide, none summed "
                "out by enumeration"
            )
        for name in sorted(drawn - latents):
            raise ValueError(
                f"latent site {name!r} of the guide is missing from the model; sample it there "
                'under the same name, or mark it infer={"is_auxiliary": True}'
            )
        return _sites(model)

    def run(self) -> tuple[Sites, Sites, float]:
        """Return the guide's sites, the model's, and log p(x, z) - log q(z) with all factors."""
        fixed = poutine.replay(self.guide, trace=_trace(self.subsamples))
        guide = poutine.trace(fixed).get_trace(*self.args, **self.kwargs)
        drawn = {name: site for name, site in _sites(guide).items() if not site["is_observed"]}
        fixed = poutine.replay(self.model, trace=_trace(self.subsamples | drawn))
        model = poutine.trace(fixed).get_trace(*self.args, **self.kwargs)
        log_joint = scaled_log_prob(_sites(model).values())
        return drawn, _sites(model), log_joint - scaled_log_prob(_sites(guide).values())

    def simulate(self, drawn: Sites) -> Sites:
        """Run the model without its observations, from given latents or from its own."""
        free = SimulationMessenger()(self.model)
        fixed = poutine.replay(free, trace=_trace(self.subsamples | drawn))
        try:
            return _sites(poutine.trace(fixed).get_trace(*self.args, **self.kwargs))
        except (NotImplementedError, RuntimeError, ValueError, IndexError, TypeError) as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ValueError(
                f"the model cannot be drawn from ({first}); predictive=False leaves such draws out"
            ) from error


class _Table:
    """The draws of every group, each under the dims that its site had at first.

    Args:
        sites: the model's sites in a first run.
        dims: the caller's names of dims, by site.
    """

    def __init__(self, sites: Sites, dims: Mapping[str, tuple[str, ...]]) -> None:
        for name in dims.keys() - sites.keys():
            raise ValueError(f"dims names the site {name!r}; the model has {', '.join(sites)}")
        self.latents = [
            name for name, site in sites.items() if not site["is_observed"] or _computed(site)
        ]
        self.observed = [name for name in sites if name not in self.latents]
        self.data = [name for name in self.observed if not site_is_factor(sites[name])]
        self.reasons = {name: _reason(name, sites[name]) for name in self.observed}
        self.plates: dict[str, str] = {}
        self.dims: dict[str, tuple[str, ...]] = {}
        for name, site in sites.items():
            value, plates_of = _arranged(site["value"], site)
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
            name: _arranged(sites[name]["value"], sites[name])[0] for name in self.data
        }
        self.drawn: dict[str, dict[str, list[Tensor]]] = {}
        self.log_weights: list[float] = []

    def add(self, group: str, sites: Sites, names: list[str]) -> None:
        """Add one draw of some sites to a group."""
        for name in names:
            if name not in sites:
                raise ValueError(
                    f"site {name!r} is not in every run of the model; from_pyro_svi needs the "
                    "same sites in all draws"
                )
            self._append(group, name, _arranged(sites[name]["value"], sites[name])[0])

    def add_posterior(self, sites: Sites, log_weight: float) -> None:
        """Add one draw of the guide, as the model's sites at it."""
        self.add("posterior", sites, self.latents)
        for name in sites.keys() - {*self.latents, *self.observed}:
            raise ValueError(
                f"site {name!r} is not in every run of the model; from_pyro_svi needs the same "
                "sites in all draws"
            )
        for name in self.observed:
            values = _arranged(log_prob(sites[name]), sites[name], event_dim=0)[0]
            self._append("log_likelihood", name, values)
        self.log_weights.append(log_weight)

    def _append(self, group: str, name: str, value: Tensor) -> None:
        values = self.drawn.setdefault(group, {}).setdefault(name, [])
        if values and values[0].shape != value.shape:
            raise ValueError(
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
                array = _array(torch.stack(values))
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
            name: Variable(_array(value), self.dims[name])
            for name, value in self.observations.items()
        }
        return groups

    def coords(self, given: Mapping[str, Sequence[Any]], subsamples: Sites) -> dict[str, Any]:
        """Return the coordinates: the caller's, and the indices of the plates' subsamples."""
        sizes: dict[str, int] = {}
        for name, draws in self.drawn.get("posterior", {}).items():
            sizes |= dict(zip(self.dims[name], draws[0].shape, strict=True))
        for name, value in self.observations.items():
            sizes |= dict(zip(self.dims[name], value.shape, strict=True))
        indices = {
            dim: _array(subsamples[plate]["value"])
            for dim, plate in self.plates.items()
            if plate in subsamples
        }
        coords: dict[str, Any] = dict(indices)
        for dim, values in given.items():
            if dim not in sizes:
                raise ValueError(f"coords names the dim {dim!r}; there are {', '.join(sizes)}")
            labels = np.asarray(values)
            # Labels of a whole plate, of which the model sees a subsample.
            if dim in indices and len(labels) == subsamples[self.plates[dim]]["fn"].size:
                labels = labels[indices[dim]]
            if labels.shape != (sizes[dim],):
                raise ValueError(
                    f"coords of dim {dim!r} must hold {sizes[dim]} values, got {len(values)}"
                )
            coords[dim] = labels
        return coords


def _arranged(
    value: Tensor, site: Site, event_dim: int | None = None
) -> tuple[Tensor, tuple[str, ...]]:
    """Arrange a value as `(*plates, *rest)`, expanded to the plates; return it and their names."""
    frames = plates(site)
    if event_dim is None:
        event_dim = site["fn"].event_dim
        if _computed(site) and event_dim == value.dim():
            # The default of `pyro.deterministic` calls all dimensions the event's.
            event_dim, frames = _event_dim(value, frames)
    depth = value.dim() - event_dim
    batch = max([depth, *(-frame.dim for frame in frames)])
    value = value.reshape((1,) * (batch - depth) + tuple(value.shape))
    sizes = {frame.dim + batch: frame.size for frame in frames}
    value = value.expand([sizes.get(dim, size) for dim, size in enumerate(value.shape)])
    rest = [dim for dim in range(batch) if dim not in sizes]
    kept = [dim for dim in rest if value.shape[dim] != 1]  # batch dimensions without a plate
    # A plate without a size of its own has that of the value.
    shape = [value.shape[dim] for dim in (*sizes, *kept)]
    events = value.shape[batch:]
    value = value.permute([*sizes, *rest, *range(batch, value.dim())])
    return value.reshape([*shape, *events]), tuple(frame.name for frame in frames)


def _event_dim(value: Tensor, frames: list[Any]) -> tuple[int, list[Any]]:
    """Find the fewest event dimensions with which a value fits its plates; else it is in none."""
    for event_dim in range(value.dim() + 1):
        batch = value.dim() - event_dim
        if all(
            -frame.dim <= batch and value.shape[batch + frame.dim] == frame.size
            for frame in frames
        ):
            return event_dim, frames
    return value.dim(), []


def _sites(trace: poutine.Trace) -> Sites:
    """Return the sample sites of a trace, `pyro.deterministic` among them, in order."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)
    }


def _trace(sites: Sites) -> poutine.Trace:
    trace = poutine.Trace()
    for name, site in sites.items():
        trace.add_node(name, **site)
    return trace


def _computed(site: Site) -> bool:
    return bool(site["infer"].get("_deterministic"))


def _reason(name: str, site: Site) -> str | None:
    try:
        return unnormalized(name, site)
    except NotImplementedError:  # a distribution that does not know its support
        return None


def _unfitted(guide: object) -> bool:
    """Tell whether a run of the guide would make its parameters; an AutoCallable makes none."""
    return (
        isinstance(guide, AutoGuide)
        and not isinstance(guide, AutoCallable)
        and guide.prototype_trace is None
    )


def _array(values: Tensor) -> Array:
    array: Array = values.detach().cpu().numpy()
    return array
