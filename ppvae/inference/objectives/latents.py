"""The latent sites of one particle's traces and their KL, as objectives weight them."""

from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine import Trace
from torch import Tensor

from ppvae.engine import (
    PLATE,
    Site,
    Unsupported,
    closed_form_kl,
    factors_of,
    family_of,
    plates,
    same_order,
    sample_sites,
    subsampling,
)

_PARTICLES = "num_particles_vectorized"  # Pyro's name of the plate over particles


@dataclass(frozen=True)
class Latent:
    """A latent of both programs.

    Args:
        name: of the site.
        guide: the site of q(z|x).
        model: the site of p(z).
        ordered: whether guide and model draw all latents in the same order, so that the KL is the
            expected sum of the sites' own closed forms.
    """

    name: str
    guide: Site
    model: Site
    ordered: bool

    @property
    def is_global(self) -> bool:
        """Whether all datapoints share it: no plate but that of the particles is around it."""
        return all(frame.name == _PARTICLES for frame in self.guide["cond_indep_stack"])


def latents_of(objective: str, guide_trace: Trace, model_trace: Trace) -> list[Latent]:
    """Return the latents in the model's order.

    Args:
        objective: its name, for errors.
        guide_trace: of the guide.
        model_trace: of the model, replayed with the guide's draws.

    Raises:
        Unsupported: if a site is missing from one program, or is not reparameterized.
    """
    guide, model = sample_sites(guide_trace), sample_sites(model_trace)
    names = [name for name, site in model.items() if not site["is_observed"]]
    for name in names:
        if name not in guide:
            raise Unsupported(
                f"{objective} needs every latent drawn in the guide, but site {name!r} of the "
                "model is missing there; draw it in the guide, or take TraceEnum_ELBO, which sums "
                "it out"
            )
    for name, site in guide.items():
        if name not in names:
            raise Unsupported(
                f"{objective} needs a guide that draws the model's latents alone, but the guide "
                f"has the site {name!r} too; write it without"
            )
        if not site["fn"].has_rsample:
            raise Unsupported(
                f"{objective} takes gradients through the draws, but latent site {name!r} "
                f"has {family_of(site)} in the guide, which cannot be reparameterized; take a "
                "continuous family there, or Trace_ELBO"
            )
    ordered = same_order(guide, names)
    return [Latent(name, guide[name], model[name], ordered) for name in names]


def only_latent(objective: str, guide_trace: Trace, model_trace: Trace) -> Latent:
    """Return the single latent, which every datapoint of a batch has.

    Raises:
        Unsupported: if there is another number of them, if it is global, masked or in a subsampled
            plate of its own, or if the batch has a single row.
    """
    latents = latents_of(objective, guide_trace, model_trace)
    if len(latents) != 1:
        names = ", ".join(repr(latent.name) for latent in latents) or "none"
        raise Unsupported(
            f"{objective} compares the draws of one latent site, got {names}; put all that is "
            "latent into one site"
        )
    (latent,) = latents
    if latent.is_global:
        raise Unsupported(
            f"{objective} needs one draw a datapoint, but latent site {latent.name!r} stands "
            f"outside the plate {PLATE!r}; sample it inside `with pyro.plate({PLATE!r}, len(x))`"
        )
    check_plate(objective, latent)
    for site in (latent.guide, latent.model):
        if site["mask"] is not None and site["mask"] is not True:
            raise Unsupported(
                f"{objective} compares the latents of all datapoints, but latent site "
                f"{latent.name!r} is masked; take the mask off it"
            )
    for frame in plates(latent.guide):
        if frame.name == PLATE and frame.size < 2:
            raise Unsupported(
                f"{objective} compares the draws of different datapoints at site "
                f"{latent.name!r}, but the batch has 1 row; choose a batch_size that leaves no "
                "single row over"
            )
        if frame.name != PLATE and frame.full_size not in (None, frame.size):
            raise Unsupported(
                f"{objective} needs all of a datapoint's latents, but plate {frame.name!r} of "
                f"site {latent.name!r} has {frame.size} of {frame.full_size}; take the whole plate"
            )
    return latent


def check_plate(objective: str, latent: Latent) -> None:
    """Refuse a site in plates of which none is that of the datapoints, by name."""
    if PLATE not in [frame.name for frame in plates(latent.guide)]:
        names = ", ".join(repr(frame.name) for frame in latent.guide["cond_indep_stack"])
        raise Unsupported(
            f"{objective} needs one row a datapoint, but the plates of latent site "
            f"{latent.name!r} are {names}; name the plate over datapoints {PLATE!r}, and enter it "
            "by `with`"
        )


def factors_of_both(objective: str, latent: Latent) -> tuple[dist.Distribution, dist.Distribution]:
    """Return q and p of a site over single numbers, or refuse the one that does not factorize."""
    factors = []
    for program, site in (("guide", latent.guide), ("model", latent.model)):
        factor = factors_of(site["fn"])
        if factor is None:
            raise Unsupported(
                f"{objective} needs distributions independent over dimensions, but latent site "
                f"{latent.name!r} has {family_of(site)} in the {program}; take one there such as "
                "Normal(loc, scale).to_event(1)"
            )
        factors.append(factor)
    return factors[0], factors[1]


def log_likelihood(model_trace: Trace) -> Tensor:
    """Return the log density of all that is observed, scaled and masked, in nats."""
    terms = [
        site["log_prob_sum"] for site in sample_sites(model_trace).values() if site["is_observed"]
    ]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def by_row(values: Tensor, site: Site, event_dim: int = 0) -> Tensor:
    """Arrange values of a site as `(particle, data, column)`: inner plates, then the event.

    Args:
        values: `(*batch, *event)`, or what broadcasts to it.
        site: whose plates the batch dimensions are.
        event_dim: number of event dimensions that `values` has.
    """
    events = values.shape[values.dim() - event_dim :]
    values = values.expand(*site["fn"].batch_shape, *events)
    dims = {frame.name: frame.dim - event_dim for frame in plates(site)}
    if _PARTICLES in dims:
        values = values.movedim((dims[_PARTICLES], dims[PLATE]), (0, 1))
    else:
        values = values.movedim(dims[PLATE], 0).unsqueeze(0)
    return values.reshape(*values.shape[:2], -1)


def datapoint_counts(site: Site) -> Tensor:
    """Return how many datapoints each value of a site represents, `(particle, data, column)`.

    It is the scale that the data plate and `poutine.scale` give, 0 where masked. That of a
    subsampled inner plate is left out: it multiplies the values of one datapoint.
    """
    ones = site["value"].new_ones(site["fn"].batch_shape)
    scale = site["scale"] / subsampling(site, inner=True)
    return by_row(scale_and_mask(ones, scale, site["mask"]), site)


def weighted_kl(
    latent: Latent, factors: tuple[dist.Distribution, dist.Distribution] | None = None
) -> Tensor:
    """Return E[log q(z|x) - log p(z)] of a site in nats, each term weighted as its site is.

    In closed form where there is one and the order of several latents allows it, else at the
    draw. Without factors the batch is that of the site, with them its event dimensions follow.

    Args:
        latent: the site.
        factors: q and p over the single numbers of an event, to have the KL of each.
    """
    q, p = factors or (latent.guide["fn"], latent.model["fn"])
    events = latent.guide["fn"].event_dim - q.event_dim
    kl = closed_form_kl(q, p) if latent.ordered else None
    if kl is not None and _weighted_alike(latent):
        return _weighted(kl, latent.guide, events)
    log_q, log_p = latent.guide["unscaled_log_prob"], latent.model["unscaled_log_prob"]
    if factors is not None:
        log_q, log_p = q.log_prob(latent.guide["value"]), p.log_prob(latent.guide["value"])
    if kl is not None:
        # A scale or mask of the model's site alone multiplies its log density, as in Trace_ELBO;
        # the guide's weight of a closed form would lose it. Equal weights cancel to nothing here.
        log_q = kl + log_p
    return _weighted(log_q, latent.guide, events) - _weighted(log_p, latent.model, events)


def _weighted(values: Tensor, site: Site, events: int) -> Tensor:
    weights = (_in_front(site["scale"], events), _in_front(site["mask"], events))
    weighted: Tensor = scale_and_mask(values, *weights)
    return weighted


def _in_front(weight: Any, events: int) -> Any:
    """Let a weight of the batch broadcast over the event dimensions that follow."""
    return weight.reshape((*weight.shape, *[1] * events)) if isinstance(weight, Tensor) else weight


def _weighted_alike(latent: Latent) -> bool:
    # Tensors are compared by identity: their values must not be read where a graph is captured.
    guide, model = latent.guide["scale"], latent.model["scale"]
    numbers = not isinstance(guide, Tensor) and not isinstance(model, Tensor)
    same_scale = guide is model or (numbers and guide == model)
    return same_scale and latent.guide["mask"] is latent.model["mask"]
