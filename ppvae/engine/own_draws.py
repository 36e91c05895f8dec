"""Distributions that can score their own draws alone, as Pyro's flows without an inverse.

Such a flow keeps what it computed for its last draw, and finds it again by the same tensor.
"""

from contextlib import suppress
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.engine.densities import density_at
from ppvae.engine.sites import Site, Sites, base_of

CANNOT_SCORE = (NotImplementedError, KeyError)
"""What a guide raises that can only score its own draws: Pyro's flows without an inverse know
the draws that they made, as the same tensors."""

_LARGEST = 64  # numbers of a latent whose Jacobian is computed
_VOLUME = 0.01  # nats by which a flow's log |det J| may differ from that of its Jacobian


def own_draws_alone(guide: Sites) -> dict[str, str]:
    """Return the sites whose distributions can score their own draws alone, with the reason.

    A flow forgets its own draw where it scores another one, so this comes after all scoring.
    """
    reasons = {}
    for name, site in guide.items():
        try:
            density_at(site, site["value"].clone())
        except CANNOT_SCORE:
            reasons[name] = _reason(site["fn"], site["value"])
    return reasons


def latents_unscored(guide: Sites) -> dict[str, str]:
    """Return the latents of which other values than the guide's draws have no log q, with why.

    Automatic guides draw auxiliary sites and make each latent of them (Delta). Given the latents
    alone, the auxiliary sites are drawn anew and lead elsewhere, where Delta has no density.

    Args:
        guide: sites of a run that has been scored.
    """
    points = {
        name: "the guide makes it of auxiliary sites (Delta)"
        for name, site in guide.items()
        if isinstance(base_of(site["fn"]), dist.Delta)
    }
    return points | own_draws_alone(guide)


def wrong_volumes(guide: Sites) -> dict[str, str]:
    """Return the sites whose flow has no inverse and another log |det J| than it says.

    Where the flow cannot invert other draws, nothing else shows the error. The guide's draws must
    be its own and not yet scored. Caches of flows are overwritten.
    """
    reasons = {}
    for name, site in guide.items():
        if not getattr(_flow(site["fn"]), "transforms", ()):
            continue
        error = 0.0
        with suppress(Exception):  # of a run whose numbers are not finite, or a singular Jacobian
            error = _volume_error(site)
        if error > _VOLUME and name in own_draws_alone({name: site}):
            names = ", ".join(type(t).__name__ for t in _flow(site["fn"]).transforms)
            reasons[name] = (
                f"log |det J| of the flow ({names}) differs from that of its Jacobian, by "
                f"{error:.2g} nats in the median, so that log q(z|x) is not its density"
            )
    return reasons


def _volume_error(site: Site) -> float:
    """Return the median difference between a flow's log |det J| and that of its Jacobian."""
    flow, value = _flow(site["fn"]), site["value"]
    if flow.event_dim != 1 or value.shape[-1] > _LARGEST:
        return 0.0
    start = value
    for transform in reversed(flow.transforms):
        start = transform.inv(start)  # the flow finds its own draw again
    with torch.enable_grad():
        leaf = start.detach().requires_grad_()
        volume, end = leaf.new_zeros(leaf.shape[:-1]), leaf
        for transform in flow.transforms:
            before, end = end, transform(end)
            terms = transform.log_abs_det_jacobian(before, end)
            volume = volume + (terms.sum(-1) if terms.dim() == leaf.dim() else terms)
        columns = [
            torch.autograd.grad(end[..., i].sum(), leaf, retain_graph=True)[0]
            for i in range(end.shape[-1])
        ]
    jacobian = torch.stack(columns, -2).double()
    exact = torch.linalg.slogdet(jacobian)[1]
    return float((volume.detach().double() - exact).abs().median())


def _flow(distribution: Any) -> Any:
    """Return the distribution within others that has transforms, or the innermost one."""
    while not hasattr(distribution, "transforms") and hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return distribution


def _reason(distribution: Any, value: Tensor) -> str:
    """Name the transform that has no inverse, or the distribution where none is found."""
    inner = _flow(distribution)
    value = value.clone()
    for transform in reversed(getattr(inner, "transforms", ())):
        try:
            value = transform.inv(value)
        except CANNOT_SCORE:
            return f"the transform {type(transform).__name__} has no inverse"
    return f"{type(inner).__name__} has no density at other draws than its own"
