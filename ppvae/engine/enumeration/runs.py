"""Runs in which Pyro enumerates discrete sites, and one value of each taken out of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.distributions as dist
import pyro.poutine as poutine
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.messenger import Messenger
from torch import Tensor

from ppvae.engine.densities import log_prob
from ppvae.engine.enumerated_sites import at, is_enumerated, plate_shape, support_of
from ppvae.engine.enumeration.sums import Factors
from ppvae.engine.layout import Layout
from ppvae.engine.pair import Program
from ppvae.engine.sites import Site, Sites, plates


def asks_for_enumeration(site: Site) -> bool:
    """Tell whether a program says that Pyro should enumerate a site, in one run for all values.

    Sites that are enumerated one value after the other, or drawn several times, are drawn.
    """
    return (
        site["infer"].get("enumerate") == "parallel"
        and not site["infer"].get("num_samples")
        and not site["is_observed"]
        and bool(getattr(site["fn"], "has_enumerate_support", False))
    )


class AnnotationReached(Messenger):  # type: ignore[misc]
    """Remembers whether a program has reached a site that asks for enumeration."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = False

    def _pyro_sample(self, msg: Any) -> None:
        self.reached = self.reached or asks_for_enumeration(msg)


def enumerating(program: Program, wanted: Callable[[Site], bool]) -> Program:
    """Return a program that asks for the enumeration of the wanted sites, and of no others."""

    def configured(site: Site) -> dict[str, Any]:
        if wanted(site):
            return {"enumerate": "parallel", "num_samples": None}
        return {"enumerate": None}

    configured_program: Program = poutine.infer_config(program, configured)
    return configured_program


def enumeration(first: int | None, given: Iterable[Site]) -> Any:
    """Return a context in which Pyro enumerates sites.

    Args:
        first: the first dimension for it.
        given: sites of the guide; where one is enumerated, the context goes on from the guide's.
    """
    goes_on = any(site["type"] == "sample" and is_enumerated(site) for site in given)
    return _Enumeration(first_available_dim=None if goes_on else first)


class _Enumeration(EnumMessenger):  # type: ignore[misc]
    """Enumerates sites; learns of given ones too which enumerated dimensions they stand in."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["done"]:
            msg = {**msg, "done": False, "infer": {**msg["infer"], "enumerate": None}}
        super()._pyro_sample(msg)


def free_dim(draw_dim: int) -> int:
    """Return the first dimension left of the plates, and of the draws if they have one now."""
    probe = poutine.trace(lambda: pyro.sample("ppvae probe", dist.Unit(torch.zeros(()))))
    frames = probe.get_trace().nodes["ppvae probe"]["cond_indep_stack"]
    return draw_dim - 1 if any(frame.dim == draw_dim for frame in frames) else draw_dim


class Given(Messenger):  # type: ignore[misc]
    """Gives values to sites, as `poutine.replay`, but leaves a program's own `infer` to it.

    Args:
        sites: the values, and of enumerated ones the dimensions.
        repeated: repeat values for each value of what the sites depend on, so that the model meets
            the shapes of a guide that draws once for each of these.
    """

    def __init__(self, sites: Mapping[str, Site], *, repeated: bool) -> None:
        super().__init__()
        self.sites, self.repeated = sites, repeated

    def _pyro_sample(self, msg: Any) -> None:
        site = self.sites.get(msg["name"])
        if site is None or site["type"] != "sample" or msg["is_observed"]:
            return
        value = site["value"]
        if self.repeated and isinstance(msg["fn"], TorchDistributionMixin):
            event_dim = msg["fn"].event_dim
            batch = value.shape[: value.dim() - event_dim]
            whole = torch.broadcast_shapes(batch, msg["fn"].batch_shape)
            if whole != batch:
                value = value.expand(*whole, *value.shape[value.dim() - event_dim :])
        if is_enumerated(site) and not self.repeated:
            msg["infer"]["_enumerate_dim"] = site["infer"]["_enumerate_dim"]
        if not self.repeated:
            msg["infer"]["_dim_to_id"] = dict(site["infer"].get("_dim_to_id", {}))
        msg["value"], msg["done"] = value, True


def one_value_each(
    sites: Sites, draw_dim: int, given: Mapping[str, Tensor] | None = None
) -> Sites:
    """Draw each enumerated site from its own density; return all sites at these values.

    Args:
        sites: of one run.
        draw_dim: the dimension of the draws.
        given: values of the enumerated sites instead, by name.

    Raises:
        Unsupported: if a log density has a dimension that no plate explains.
    """
    discrete = {name: site for name, site in sites.items() if is_enumerated(site)}
    if given is None:
        indices = Factors(discrete, log_prob, draw_dim).draw(discrete)
    else:
        indices = {name: _places(given[name], site) for name, site in discrete.items()}
    by_id = {
        site["infer"]["_dim_to_id"][site["infer"]["_enumerate_dim"]]: indices[name]
        for name, site in discrete.items()
    }
    return {
        name: valued(site, indices[name]) if name in discrete else at(site, by_id)
        for name, site in sites.items()
    }


def valued(site: Site, index: Tensor) -> Site:
    """Return an enumerated site with the values at places in its support, as a drawn one."""
    return {**site, "value": support_of(site)[index], "infer": {}}


def _places(value: Tensor, site: Site) -> Tensor:
    """Return the places of drawn values in a site's support, in the shape of its plates."""
    events = site["fn"].event_dim
    equal = value.unsqueeze(0) == support_of(site).reshape(
        -1, *(1,) * (value.dim() - events), *site["fn"].event_shape
    )
    if events:
        equal = equal.flatten(-events).all(-1)
    return equal.int().argmax(0).expand(plate_shape(site))


@dataclass(frozen=True)
class _Trial(Layout):
    """What is known of a pair before its model has run."""


_DEEPEST = 4  # plates that the model alone may have


def by_trying(
    run: Callable[[Layout], tuple[Sites, Sites]],
    names: tuple[str, ...],
    depth: int,
    failure: Exception | None,
) -> tuple[Sites, Sites]:
    """Run a pair with sites enumerated left of its plates, whose number is found by trying.

    Args:
        run: runs guide and model by a layout, and returns their sites.
        names: the sites that the guide enumerates.
        depth: the number of plates of the guide.
        failure: of a run without enumeration, raised if there is none that works.
    """
    for _ in range(_DEEPEST):
        try:
            sites = run(_Trial((), (), names, (), -depth - 1))
        except Exception as error:
            failure, depth = failure or error, depth + 1
            continue
        found = max(map(depth_of, sites))
        if found <= depth:
            return sites
        depth = found
    assert failure is not None
    raise failure


def depth_of(sites: Sites) -> int:
    """Return the number of dimensions that the plates around sites take."""
    return max((-frame.dim for site in sites.values() for frame in plates(site)), default=0)
