"""What one run shows of a pair's sites: for diagnostics, and for objectives."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pyro.distributions as dist
import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine.adaptation import Adapted
from ppvae.engine.batches import Batch
from ppvae.engine.compilation.torch_internals import TorchDispatchMode, returns_views
from ppvae.engine.densities import same_order, site_kl
from ppvae.engine.errors import Unsupported
from ppvae.engine.execution import run_pair
from ppvae.engine.isolation import isolated
from ppvae.engine.layout import Layout, drawn, places_of
from ppvae.engine.own_draws import wrong_volumes
from ppvae.engine.pair import Pair, Program
from ppvae.engine.sites import (
    PLATE,
    Site,
    Sites,
    base_of,
    by_datapoint,
    family_of,
    given_scale,
    names_of,
    plates,
    rows_of,
    unnormalized,
)


@dataclass(frozen=True)
class Structure(Layout):
    """What diagnostics need to know of a pair's sites, before any draw is vectorized.

    Args:
        observations: the data of the observed sites, `(data, *inner plates, *event)`; none of a
            `pyro.factor`.
        inner_plates: names of the plates within the data plate, left to right, by site.
        kl: closed-form KL[q(z|x) || p(z)] in nats, `(data,)`, where one latent allows it.
        ordered: whether the guide draws the model's latents alone and in the model's order, so
            that the KL is the expected sum of the sites' own closed forms.
        unnormalized: observed sites whose log_prob is no density of the data, with the reason.
        degenerate: latent sites whose importance weights are not defined, with the reason.
        bytes_per_draw: memory of all tensors that one draw of one datapoint makes.
    """

    observations: dict[str, Tensor]
    inner_plates: dict[str, tuple[str, ...]]
    kl: Tensor | None
    ordered: bool
    unnormalized: dict[str, str]
    degenerate: dict[str, str]
    bytes_per_draw: float

    def first(self, rows: int) -> "Structure":
        """Return the structure of the first datapoints."""
        observations = {name: values[:rows] for name, values in self.observations.items()}
        kl = None if self.kl is None else self.kl[:rows]
        return replace(self, observations=observations, kl=kl)


def structure_of(pair: Pair, batch: Batch) -> Structure:
    """Run a pair once and say how its densities can be read per datapoint.

    Raises:
        Unsupported: if guide and model name different latents, a site stands outside the plate
            "data", a plate is sequential, or nothing is latent or observed.
        ValueError: if data lie outside the support of a likelihood.
        Exception: what guide and model raise, with a note of the data's shape.
    """
    with Allocations() as allocations:
        guide, model = run_pair(pair, batch)
    rows = len(batch[0])
    places = places_of(guide, model, rows)
    latents, observed = places["latents"], places["observed"]
    for name in latents:
        stacks = [*plates(guide[name]), *plates(model[name])]
        dims = [frame.dim for frame in stacks if frame.name == PLATE]
        if len(set(dims)) > 1:
            raise Unsupported(
                f"site {name!r} has the plate {PLATE!r} at dimension {dims[0]} in the guide and "
                f"{dims[1]} in the model; give both the same `dim`"
            )
    # Given the latents that all datapoints share, a datapoint need not have any of its own.
    alone = isinstance(pair, Adapted) and bool(pair.shared.given)
    if not (latents or places["marginalized"] or alone) or not observed:
        raise Unsupported(
            "a pair needs a latent site in model and guide and an observed site in the model; "
            f"got latents {names_of(latents)} and observed {names_of(observed)}"
        )
    ordered = bool(latents) and not places["marginalized"] and same_order(guide, latents)
    kl = None
    if ordered and len(latents) == 1:
        kl = site_kl(guide[latents[0]], model[latents[0]], None, None, rows)
    reasons = {name: unnormalized(name, model[name]) for name in observed}
    return Structure(
        **places,
        observations={
            name: by_datapoint(model[name]["value"], model[name], None)
            for name in observed
            if not site_is_factor(model[name])
        },
        inner_plates={
            name: tuple(frame.name for frame in plates(model[name]) if frame.name != PLATE)
            for name in (*latents, *observed)
        },
        kl=None if kl is None else kl[0],
        ordered=ordered,
        unnormalized={name: reason for name, reason in reasons.items() if reason},
        degenerate=_degenerate(guide, model, latents, places["enumerated"]),
        bytes_per_draw=allocations.bytes / rows,
    )


class Allocations(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make inside the block."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 1

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        if isinstance(output, Tensor) and not returns_views(function):
            self.bytes += output.numel() * output.element_size()
        return output


def _degenerate(
    guide: Sites, model: Sites, latents: tuple[str, ...], enumerated: tuple[str, ...]
) -> dict[str, str]:
    """Find latents whose log q(z|x) or log p(z) is no log density."""
    auxiliary = any(name not in latents and name not in enumerated for name in guide)
    reasons = {}
    for name in latents:
        point = isinstance(base_of(guide[name]["fn"]), dist.Delta)
        if point and not auxiliary:
            reasons[name] = "the guide gives a single point (Delta), which has no density"
        if auxiliary and not point:
            reasons[name] = (
                "the guide draws auxiliary sites too, so that log q(z|x) is not known; make the "
                "latent a function of them (Delta), or write the guide without them"
            )
        if isinstance(base_of(model[name]["fn"]), dist.ImproperUniform):
            reasons[name] = "the prior is improper"
    return wrong_volumes({name: guide[name] for name in latents}) | reasons


def refuse_degenerate(structure: Structure) -> None:
    """Refuse a latent site whose log weights are no log densities, by name."""
    for name, reason in structure.degenerate.items():
        raise Unsupported(f"importance weights are not defined: at latent site {name!r} {reason}")


def refuse_without_latents(structure: Structure) -> None:
    """Refuse a pair whose guide draws no latent of a single datapoint."""
    if not structure.latents:
        raise Unsupported(
            "the guide draws no latent of a single datapoint: all latents are shared by all "
            "datapoints, or summed out"
        )


def refuse_unnormalized(structure: Structure) -> None:
    """Refuse an observed site that is no density of the data, by name."""
    for name, reason in structure.unnormalized.items():
        raise Unsupported(
            f"log P(X) is not defined for this pair: at site {name!r} {reason}; `weights` and "
            "`fit` work, for evidence use a normalized likelihood"
        )


@dataclass(frozen=True)
class TrainingStructure(Layout):
    """What objectives need to know of a pair's sites, before any particle is vectorized.

    Args:
        reference: an observed site, whose scale is that of the objective.
        unreparameterized: the guide's sites whose draws have no gradient, with their families.
        rounded: the guide's sites whose draws are rounded, with their families.
        off_the_path: the guide's sites of which gradients through the draws miss a part, with the
            reason.
        subsampled: whether the plate over datapoints takes some of the rows that it is given.
        other_scale: an observed site whose scale is another than the reference's, if any.
    """

    reference: str
    unreparameterized: dict[str, str]
    rounded: dict[str, str]
    off_the_path: dict[str, str]
    subsampled: bool
    other_scale: str | None


def training_structure_of(
    model: Program, guide: Program, args: tuple[Any, ...]
) -> TrainingStructure:
    """Run a pair once, leaving no trace of it, and say how objectives can read its sites.

    Raises:
        Unsupported: if a site stands outside the plate "data" or in a sequential one, guide and
            model name different latents, or nothing is observed.
        Exception: what guide and model raise, with a note of the data's shape.
    """
    pair = SimpleNamespace(model=model, guide=guide)
    # Parameters that the programs make here start at random, by the seed of the moment.
    with isolated(pair, seed=torch.initial_seed(), keep=True), torch.enable_grad():
        guide_sites, model_sites = run_pair(pair, args)
    places = drawn(places_of(guide_sites, model_sites, None), guide_sites, model_sites)
    if not places["observed"]:
        raise Unsupported("the model observes nothing; pass its data to a site as obs=")
    observed = [model_sites[name] for name in places["observed"]]
    return TrainingStructure(
        **places,
        reference=places["observed"][0],
        unreparameterized={
            name: type(base_of(site["fn"])).__name__
            for name, site in guide_sites.items()
            if not site["fn"].has_rsample
        },
        rounded=_reasons(_rounding, guide_sites),
        off_the_path=_reasons(off_the_path, guide_sites),
        subsampled=rows_of(observed[0]) != len(args[0]),
        other_scale=_other_scale(observed),
    )


def _reasons(reason: Callable[[Site], str | None], sites: Sites) -> dict[str, str]:
    found = {name: reason(site) for name, site in sites.items()}
    return {name: text for name, text in found.items() if text is not None}


def _rounding(site: Site) -> str | None:
    """Return the family that rounds a site's draws and scores them unrounded, if it does."""
    # Pyro keeps the unrounded draws there.
    return family_of(site) if hasattr(site["value"], "_unquantize") else None


def off_the_path(site: Site) -> str | None:
    """Say why the expected gradient of log q(z|x) by its own parameters is not 0, if so."""
    inner: Any = site["fn"]
    while inner is not None:
        family = type(inner).__name__
        if isinstance(inner, dist.Delta) and inner.log_density.requires_grad:
            return f"{family} has a log density with parameters"
        if isinstance(inner, dist.Rejector):
            return f"{family} draws by rejection"
        try:
            bounds = [value for value in vars(inner.support).values() if torch.is_tensor(value)]
        except NotImplementedError:  # a family of the user's need not have one
            bounds = []
        if any(bound.requires_grad for bound in bounds):
            return f"the support of {family} depends on parameters"
        inner = getattr(inner, "base_dist", None)
    return None


def _other_scale(observed: list[Site]) -> str | None:
    first = torch.as_tensor(given_scale(observed[0])).double()
    for site in observed[1:]:
        given = torch.as_tensor(given_scale(site)).double()
        if given.shape != first.shape or not torch.allclose(given, first):
            return str(site["name"])
    return None
