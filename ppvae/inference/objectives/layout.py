"""How the sites of a pair stand in its plates, found out once for every pair."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ppvae.isolation import isolated
from ppvae.sites import PLATE, base_of, plates
from ppvae.traces import check_plates, run, summed_out

Program = Callable[..., Any]


@dataclass(frozen=True)
class Layout:
    """How the sites of a pair stand in its plates.

    Args:
        draw_dim: the batch dimension free for particles, left of every plate.
        marginalised: discrete sites of the model alone, summed out by enumeration.
        reference: an observed site, whose scale is that of the objective.
        unreparameterised: the guide's sites whose draws have no gradient, with their families.
        latents: sites of the model that are not observed.
        chooses: whether the plate over datapoints takes some of the rows that it is given.
    """

    draw_dim: int
    marginalised: tuple[str, ...]
    reference: str
    unreparameterised: dict[str, str]
    latents: frozenset[str]
    chooses: bool


def layout_of(model: Program, guide: Program, args: tuple[Any, ...]) -> Layout:
    """Run a pair once, leaving no trace of it, and say how its sites stand.

    Raises:
        ValueError: if a site stands outside the plate "data" or in a sequential one, guide and
            model name different latents, or nothing is observed.
    """
    pair = SimpleNamespace(model=model, guide=guide)
    with isolated(pair, seed=0, keep=True):
        guide_sites, model_sites = run(pair, args)
    for program, sites in (("guide", guide_sites), ("model", model_sites)):
        for name, site in sites.items():
            check_plates(program, name, site, None)
    observed = [name for name, site in model_sites.items() if site["is_observed"]]
    if not observed:
        raise ValueError("the model observes nothing; pass its data to a site as obs=")
    every = [*guide_sites.values(), *model_sites.values()]
    return Layout(
        draw_dim=min(frame.dim for site in every for frame in plates(site)) - 1,
        marginalised=summed_out(guide_sites, model_sites),
        reference=observed[0],
        chooses=rows_of(model_sites[observed[0]]) != len(args[0]),
        latents=frozenset(model_sites) - frozenset(observed),
        unreparameterised={
            name: type(base_of(site["fn"])).__name__
            for name, site in guide_sites.items()
            if not site["fn"].has_rsample
        },
    )


def rows_of(site: dict[str, Any]) -> int:
    """Return how many datapoints a site has."""
    return next(int(frame.size) for frame in plates(site) if frame.name == PLATE)


def subsampling(site: dict[str, Any], *, inner: bool) -> float:
    """Return the factor by which plates scale a site: the data plate's, or that of all others."""
    frames = [frame for frame in plates(site) if (frame.name != PLATE) == inner]
    factors: list[float] = [(frame.full_size or frame.size) / frame.size for frame in frames]
    return math.prod(factors)
