"""How the sites of a pair stand in its plates, found out once for every pair."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pyro.distributions as dist
import torch

from ppvae.engine import (
    PLATE,
    Site,
    Sites,
    base_of,
    check_plates,
    isolated,
    plates,
    run_pair,
    summed_out,
)

Program = Callable[..., Any]


@dataclass(frozen=True)
class Layout:
    """How the sites of a pair stand in its plates.

    Args:
        draw_dim: the batch dimension free for particles, left of every plate.
        marginalized: discrete sites of the model alone, summed out by enumeration.
        reference: an observed site, whose scale is that of the objective.
        unreparameterized: the guide's sites whose draws have no gradient, with their families.
        rounded: the guide's sites whose draws are rounded, with their families.
        off_the_path: the guide's sites of which gradients through the draws miss a part, with the
            reason.
        latents: sites of the model that are not observed.
        chooses: whether the plate over datapoints takes some of the rows that it is given.
        scaled_apart: an observed site whose scale is another than the reference's, if any.
    """

    draw_dim: int
    marginalized: tuple[str, ...]
    reference: str
    unreparameterized: dict[str, str]
    rounded: dict[str, str]
    off_the_path: dict[str, str]
    latents: frozenset[str]
    chooses: bool
    scaled_apart: str | None


def layout_of(model: Program, guide: Program, args: tuple[Any, ...]) -> Layout:
    """Run a pair once, leaving no trace of it, and say how its sites stand.

    Raises:
        ValueError: if a site stands outside the plate "data" or in a sequential one, guide and
            model name different latents, or nothing is observed.
    """
    pair = SimpleNamespace(model=model, guide=guide)
    # Parameters that the programs make here start at random, by the seed of the moment.
    with isolated(pair, seed=torch.initial_seed(), keep=True), torch.enable_grad():
        guide_sites, model_sites = run_pair(pair, args)
    for program, sites in (("guide", guide_sites), ("model", model_sites)):
        for name, site in sites.items():
            check_plates(program, name, site, None)
    observed = [name for name, site in model_sites.items() if site["is_observed"]]
    if not observed:
        raise ValueError("the model observes nothing; pass its data to a site as obs=")
    every = [*guide_sites.values(), *model_sites.values()]
    return Layout(
        draw_dim=min(frame.dim for site in every for frame in plates(site)) - 1,
        marginalized=summed_out(guide_sites, model_sites),
        reference=observed[0],
        chooses=rows_of(model_sites[observed[0]]) != len(args[0]),
        scaled_apart=_scaled_apart([model_sites[name] for name in observed]),
        latents=frozenset(model_sites) - frozenset(observed),
        rounded=_named(_rounding, guide_sites),
        off_the_path=_named(_off_the_path, guide_sites),
        unreparameterized={
            name: type(base_of(site["fn"])).__name__
            for name, site in guide_sites.items()
            if not site["fn"].has_rsample
        },
    )


def rows_of(site: Site) -> int:
    """Return how many datapoints a site has."""
    return next(int(frame.size) for frame in plates(site) if frame.name == PLATE)


def subsampling(site: Site, *, inner: bool) -> float:
    """Return the factor by which plates scale a site: the data plate's, or that of all others."""
    frames = [frame for frame in plates(site) if (frame.name != PLATE) == inner]
    factors: list[float] = [(frame.full_size or frame.size) / frame.size for frame in frames]
    return math.prod(factors)


def _named(look: Callable[[Site], str | None], sites: Sites) -> dict[str, str]:
    found = {name: look(site) for name, site in sites.items()}
    return {name: text for name, text in found.items() if text is not None}


def _rounding(site: Site) -> str | None:
    """Return the family that rounds a site's draws and scores them unrounded, if it does."""
    if not hasattr(site["value"], "_unquantize"):  # where Pyro keeps these
        return None
    family = site["fn"]
    while isinstance(family, dist.Independent):
        family = family.base_dist
    return type(family).__name__


def _off_the_path(site: Site) -> str | None:
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


def given_scale(site: Site) -> Any:
    """Return what a site is scaled by `poutine.scale`, its plates aside."""
    return site["scale"] / (subsampling(site, inner=True) * subsampling(site, inner=False))


def _scaled_apart(observed: list[Site]) -> str | None:
    first = torch.as_tensor(given_scale(observed[0])).double()
    for site in observed[1:]:
        given = torch.as_tensor(given_scale(site)).double()
        if given.shape != first.shape or not torch.allclose(given, first):
            return str(site["name"])
    return None
