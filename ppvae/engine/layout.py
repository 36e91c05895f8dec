"""How the sites of a pair stand in its plates: what diagnostics and objectives both need."""

from abc import ABC
from dataclasses import dataclass
from typing import TypedDict

from ppvae.engine.enumerated_sites import is_enumerated
from ppvae.engine.errors import Unsupported
from ppvae.engine.sites import PLATE, Site, Sites, names_of, plates


@dataclass(frozen=True)
class Layout(ABC):
    """How the sites of a pair stand in its plates.

    Args:
        latents: sites drawn by the guide and scored by the model, in the model's order.
        marginalized: discrete sites summed out by enumeration: those of the model alone, and those
            that the guide enumerates.
        enumerated: those of them that are enumerated in every run of the pair, because the guide
            says so, or because the model cannot run on a single value.
        observed: sites with data.
        draw_dim: the batch dimension free for draws, left of every plate.
    """

    latents: tuple[str, ...]
    marginalized: tuple[str, ...]
    enumerated: tuple[str, ...]
    observed: tuple[str, ...]
    draw_dim: int


class Places(TypedDict):
    """The fields of a `Layout`."""

    latents: tuple[str, ...]
    marginalized: tuple[str, ...]
    enumerated: tuple[str, ...]
    observed: tuple[str, ...]
    draw_dim: int


def places_of(guide: Sites, model: Sites, rows: int | None) -> Places:
    """Read the fields of a `Layout` from one run of a pair.

    Args:
        guide: the guide's sites.
        model: the model's sites.
        rows: number of datapoints, which the plate over them must have; None where the plate may
            take some of them.

    Raises:
        Unsupported: if a site stands outside the plate over datapoints or in a sequential one.
    """
    for program, sites in (("guide", guide), ("model", model)):
        for name, site in sites.items():
            _check_plates(program, name, site, rows)
    sites_of_both = [*guide.values(), *model.values()]
    enumerated = tuple(name for name, site in (guide | model).items() if is_enumerated(site))
    return {
        "latents": tuple(name for name in model if name in guide and name not in enumerated),
        "marginalized": tuple(
            name
            for name, site in model.items()
            if not site["is_observed"] and (name not in guide or name in enumerated)
        ),
        "enumerated": enumerated,
        "observed": tuple(name for name, site in model.items() if site["is_observed"]),
        "draw_dim": min((f.dim for site in sites_of_both for f in plates(site)), default=0) - 1,
    }


def drawn(places: Places, guide: Sites, model: Sites) -> Places:
    """Return the fields of a `Layout` with the guide's enumerated sites as latents that it draws.

    Args:
        places: what `places_of` read.
        guide: the guide's sites.
        model: the model's sites.
    """
    return {
        **places,
        "latents": tuple(name for name in model if name in guide),
        "marginalized": tuple(name for name in places["marginalized"] if name not in guide),
        "enumerated": (),
    }


def _check_plates(program: str, name: str, site: Site, rows: int | None) -> None:
    """Refuse a site outside the plate over datapoints, or in a sequential one."""
    stack = site["cond_indep_stack"]
    for frame in stack:
        if not frame.vectorized:
            raise Unsupported(
                f"site {name!r} of the {program} stands in the sequential plate {frame.name!r}; "
                "write `with pyro.plate(...)` instead of a loop over it"
            )
    names = [frame.name for frame in stack]
    if PLATE not in names:
        raise Unsupported(
            f"site {name!r} of the {program} stands outside the plate {PLATE!r} (its plates: "
            f"{names_of(names)}), so it has no value per datapoint; sample it inside "
            f"`with pyro.plate({PLATE!r}, len(x))`; `ppvae.from_pyro_svi` exports "
            "latents that all datapoints share"
        )
    size = next(frame.size for frame in stack if frame.name == PLATE)
    if rows is not None and size != rows:
        raise Unsupported(
            f"site {name!r} of the {program}: the plate {PLATE!r} has {size} rows, the data "
            f"{rows}; the first dimension of the data must be the plate's, so pass all "
            f"{size} datapoints if the {program} was made for them, as automatic guides are"
        )
