"""Runs any pair and reads what its traces say of its structure."""

from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.compilation.torch_internals import TorchDispatchMode, returns_views
from ppvae.engine.execution import run_pair
from ppvae.engine.pair import Pair
from ppvae.engine.sites import (
    PLATE,
    Site,
    Sites,
    base_of,
    by_datapoint,
    closed_form_kl,
    names_of,
    plates,
    unnormalized,
)


@dataclass(frozen=True)
class Structure:
    """What one run of a pair shows of its sites, before any draw is vectorized.

    Args:
        latents: sites drawn by the guide and scored by the model, in the model's order.
        marginalized: discrete sites of the model alone, summed out by enumeration.
        observed: sites with data.
        observations: the data of those sites, `(data, *inner plates, *event)`; none of a
            `pyro.factor`.
        inner_plates: names of the plates within the data plate, left to right, by site.
        draw_dim: the batch dimension free for draws, left of every plate.
        kl: closed-form KL[q(z|x) || p(z)] in nats, `(data,)`, where one latent allows it.
        ordered: whether model and guide draw several latents in the same order, so that the KL is
            the expected sum of the sites' own closed forms.
        unnormalized: observed sites whose log_prob is no density of the data, with the reason.
        degenerate: latent sites whose importance weights mean nothing, with the reason.
        bytes_per_draw: memory that one draw of one datapoint passes through.
    """

    latents: tuple[str, ...]
    marginalized: tuple[str, ...]
    observed: tuple[str, ...]
    observations: dict[str, Tensor]
    inner_plates: dict[str, tuple[str, ...]]
    draw_dim: int
    kl: Tensor | None
    ordered: bool
    unnormalized: dict[str, str]
    degenerate: dict[str, str]
    bytes_per_draw: float


def structure_of(pair: Pair, batch: Batch) -> Structure:
    """Run a pair once and say how its densities can be read per datapoint.

    Raises:
        ValueError: if the pair cannot run on the batch, guide and model name different latents, a
            site stands outside the plate "data", a plate is sequential, a summed-out site
            stands in a plate of its own, or nothing is latent or observed.
    """
    with Allocations() as allocations:
        guide, model = run_pair(pair, batch)
    rows = len(batch[0])
    for program, sites in (("guide", guide), ("model", model)):
        for name, site in sites.items():
            check_plates(program, name, site, rows)
    marginalized = summed_out(guide, model)
    latents = [name for name in model if name in guide]
    for name in latents:
        stacks = [*plates(guide[name]), *plates(model[name])]
        dims = [frame.dim for frame in stacks if frame.name == PLATE]
        if len(set(dims)) > 1:
            raise ValueError(
                f"site {name!r} has the plate {PLATE!r} at dimension {dims[0]} in the guide and "
                f"{dims[1]} in the model; give both the same `dim`"
            )
    observed = [name for name, site in model.items() if site["is_observed"]]
    if not latents or not observed:
        raise ValueError(
            "a pair needs a latent site in model and guide and an observed site in the model; "
            f"got latents {names_of(latents)} and observed {names_of(observed)}"
        )
    depth = max(
        -frame.dim for site in (*guide.values(), *model.values()) for frame in plates(site)
    )
    ordered = (
        not marginalized and list(guide) == latents  # no auxiliary sites, and the same order
    )
    kl = None
    if ordered and len(latents) == 1:
        kl = closed_form_kl(guide[latents[0]], model[latents[0]], None, None, rows)
    reasons = {name: unnormalized(name, model[name]) for name in observed}
    return Structure(
        latents=tuple(latents),
        marginalized=marginalized,
        observed=tuple(observed),
        observations={
            name: by_datapoint(model[name]["value"], model[name], None)
            for name in observed
            if not site_is_factor(model[name])
        },
        inner_plates={
            name: tuple(frame.name for frame in plates(model[name]) if frame.name != PLATE)
            for name in (*latents, *observed)
        },
        draw_dim=-depth - 1,
        kl=None if kl is None else kl[0],
        ordered=ordered,
        unnormalized={name: reason for name, reason in reasons.items() if reason},
        degenerate=_degenerate(guide, model, latents),
        bytes_per_draw=allocations.bytes / rows,
    )


def summed_out(guide: Sites, model: Sites) -> tuple[str, ...]:
    """Return the latents of the model alone.

    Raises:
        ValueError: if one of them stands in a plate within that over datapoints.
    """
    names = tuple(
        name for name, site in model.items() if not site["is_observed"] and name not in guide
    )
    for name in names:
        if len(model[name]["cond_indep_stack"]) > 1:
            raise ValueError(
                f"site {name!r} is summed out inside a plate of its own, which is not supported; "
                "draw it in the guide"
            )
    return names


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


def check_plates(program: str, name: str, site: Site, rows: int | None) -> None:
    """Raise ValueError unless a site stands in the plate over datapoints and no sequential one."""
    stack = site["cond_indep_stack"]
    for frame in stack:
        if not frame.vectorized:
            raise ValueError(
                f"site {name!r} of the {program} stands in the sequential plate {frame.name!r}; "
                "write `with pyro.plate(...)` instead of a loop over it"
            )
    names = [frame.name for frame in stack]
    if PLATE not in names:
        raise ValueError(
            f"site {name!r} of the {program} stands outside the plate {PLATE!r} (its plates: "
            f"{names_of(names)}), so it has no value per datapoint; sample it inside "
            f"`with pyro.plate({PLATE!r}, len(x))`; `ppvae.from_pyro_svi` exports "
            "latents that all datapoints share"
        )
    size = next(frame.size for frame in stack if frame.name == PLATE)
    if rows is not None and size != rows:
        raise ValueError(
            f"site {name!r} of the {program}: the plate {PLATE!r} has {size} rows, the data "
            f"{rows}; the first dimension of the data must be the plate's"
        )


def _degenerate(guide: Sites, model: Sites, latents: list[str]) -> dict[str, str]:
    """Find latents whose log q(z|x) or log p(z) is no log density."""
    auxiliary = any(name not in latents for name in guide)
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
    return reasons


def refuse_degenerate(structure: Structure) -> None:
    """Raise ValueError for a latent site whose log weights are no log densities, by name."""
    for name, reason in structure.degenerate.items():
        raise ValueError(f"importance weights are not defined: at latent site {name!r} {reason}")


def refuse_unnormalized(structure: Structure) -> None:
    """Raise ValueError for an observed site that is no density of the data, by name."""
    for name, reason in structure.unnormalized.items():
        raise ValueError(
            f"log P(X) is not defined for this pair: at site {name!r} {reason}; `weights` and "
            "`fit` work, for evidence use a normalized likelihood"
        )
