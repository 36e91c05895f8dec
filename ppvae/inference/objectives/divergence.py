"""The KL of one latent site, in closed form where there is one."""

from typing import Any

import pyro.distributions as dist
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.engine import Site
from ppvae.inference.objectives.latents import Latent


def weighted_kl(
    latent: Latent, factors: tuple[dist.Distribution, dist.Distribution] | None = None
) -> Tensor:
    """Return E[log q(z|x) - log p(z)] of a site in nats, each weighted as its own site is.

    In closed form where there is one and the order of several latents allows it, else at the
    draw. Without factors the batch is that of the site, with them its event dimensions follow.

    Args:
        latent: the site.
        factors: q and p over the single numbers of an event, to have the KL of each.
    """
    q, p = factors or (latent.guide["fn"], latent.model["fn"])
    events = latent.guide["fn"].event_dim - q.event_dim
    kl = _closed_form(latent, q, p)
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


def _closed_form(latent: Latent, q: dist.Distribution, p: dist.Distribution) -> Tensor | None:
    if not latent.ordered:
        return None
    try:
        kl: Tensor = kl_divergence(q, p)
    except NotImplementedError:
        return None
    return kl


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
