"""Log densities of a pair's sites, their KL in closed form, and averages over draws.

A site has two log densities. `log_prob` leaves out the factors of `plate(size, subsample_size)`
and of `poutine.scale`: diagnostics and bounds need it, by datapoint. `scaled_log_prob` has these
factors: it is what training maximizes, over a whole batch. Masks count in both.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor
from torch.distributions import kl_divergence

from ppvae.engine.errors import Unsupported, at_site
from ppvae.engine.layout import Layout
from ppvae.engine.masks import masked_alike
from ppvae.engine.sites import PLATE, Site, Sites, plates, same_mask

Weight: TypeAlias = Tensor | float | None
"""What a log density is multiplied by; None for 1."""


# By datapoint, without factors.


def log_prob(site: Site) -> Tensor:
    """Return a site's log density without plates' and `poutine.scale`'s factors, masks applied.

    Where an enumerated site is masked its log density is that of a uniform choice, so that
    summing it out changes nothing.
    """
    values = density_at(site, site["value"])
    if site["infer"].get("_enumerate_dim") is None:
        return _masked(values, site)
    uniform = math.log(len(site["fn"].enumerate_support(expand=False)))
    return _masked(values + uniform, site) - uniform


def density_at(site: Site, value: Tensor) -> Tensor:
    """Return the log density of a site's distribution at a value, in nats.

    Raises:
        Exception: what the distribution raises, with a note of the site.
    """
    with at_site(site["name"]):
        values: Tensor = site["fn"].log_prob(value)
    return values


def per_datapoint(
    values: Tensor, site: Site, draw_dim: int | None, rows: int, draws: int | None
) -> Tensor:
    """Sum a site's values over every plate but draws and data: `(..., draw, data)`.

    Dimensions left of the draws are kept: they are the enumerated ones.
    """
    depth = -draw_dim if draw_dim is not None else max(-frame.dim for frame in plates(site)) + 1
    shape = [1] * depth
    for frame in plates(site):
        shape[frame.dim] = frame.size
    if draws is not None:
        shape[-depth] = draws
    if values.dim() < depth:
        values = values.reshape((1,) * (depth - values.dim()) + tuple(values.shape))
    values = values.expand(*values.shape[: values.dim() - depth], *shape)
    data_dim = next(frame.dim for frame in plates(site) if frame.name == PLATE)
    others = [dim for dim in range(-depth + 1, 0) if dim != data_dim]
    summed = values.sum(others) if others else values
    return summed.reshape(*summed.shape[: summed.dim() - depth + len(others)], draws or 1, rows)


def log_density(
    sites: Iterable[Site],
    layout: Layout,
    rows: int,
    draws: int | None,
    weight: Callable[[Site], Weight] | None = None,
) -> Tensor:
    """Sum the log densities of sites by datapoint: `(*enumerated, draw, data)`, in nats.

    Args:
        sites: of a guide, or of a model.
        layout: how the pair's sites stand in its plates.
        rows: number of datapoints.
        draws: number of draws at once, or None for one without a dimension of its own.
        weight: factor of each site's log density; all are 1 unless given.

    Raises:
        Unsupported: if a log density has a dimension left of the draws that is not enumerated.
    """
    terms = []
    for site in sites:
        factor = None if weight is None else weight(site)
        values = log_prob(site) if factor is None else log_prob(site) * factor
        terms.append(per_datapoint(values, site, layout.draw_dim, rows, draws))
    if draws is not None and not layout.marginalized and any(term.dim() > 2 for term in terms):
        raise Unsupported("a log density has dimensions left of the draws")
    return sum(terms[1:], start=terms[0]) if terms else torch.zeros(draws or 1, rows)


def site_kl(
    guide: Site, model: Site, draw_dim: int | None, draws: int | None, rows: int
) -> Tensor | None:
    """Return KL[q || p] of one latent, `(draw, data)`, or None where there is no closed form."""
    if not same_mask(guide["mask"], model["mask"]):
        return None
    kl = closed_form_kl(guide["fn"], model["fn"])
    return None if kl is None else per_datapoint(_masked(kl, guide), guide, draw_dim, rows, draws)


def _masked(values: Tensor, site: Site) -> Tensor:
    if site["mask"] is None or site["mask"] is True:
        return values
    mask = torch.as_tensor(site["mask"], device=values.device)
    return torch.where(mask, values, torch.zeros_like(values))


# Of a whole batch, with the factors that training gives its sites.


def scaled(values: Tensor, site: Site) -> Tensor:
    """Multiply a site's values by plates' and `poutine.scale`'s factors, masks applied."""
    weighted: Tensor = scale_and_mask(values, site["scale"], site["mask"])
    return weighted


def scaled_log_prob(sites: Iterable[Site]) -> float:
    """Return the sum of the sites' log densities over the batch, in nats, factors included."""
    return sum(float(scaled(density_at(site, site["value"]), site).sum()) for site in sites)


def scaled_kl(guide: Sites, model: Sites, latents: Sequence[str]) -> float | None:
    """Return KL[q || p] of the latents over the batch, in nats, factors included.

    None where a latent has no closed form, or is masked otherwise in the guide than in the model.
    """
    total = 0.0
    if not all(same_mask(guide[name]["mask"], model[name]["mask"]) for name in latents):
        return None
    for name in latents:
        kl = closed_form_kl(guide[name]["fn"], model[name]["fn"])
        if kl is None:
            return None
        total += float(scaled(kl, guide[name]).sum())
    return total


# Of both.


def closed_form_kl(q: Any, p: Any) -> Tensor | None:
    """Return KL[q || p] in nats, `(*batch)`, or None where torch has no closed form.

    There is none of two distributions that hold different masks.

    Example:
        >>> import pyro.distributions as dist
        >>> closed_form_kl(dist.Normal(1.0, 1.0), dist.Normal(0.0, 1.0))
        tensor(0.5000)
        >>> closed_form_kl(dist.Normal(0.0, 1.0), dist.Cauchy(0.0, 1.0)) is None
        True
    """
    if not masked_alike(q, p):  # torch's would count what both leave
        return None
    try:
        kl: Tensor = kl_divergence(q, p)
    except NotImplementedError:
        return None
    return kl


def same_order(guide: Iterable[str], latents: Iterable[str]) -> bool:
    """Tell whether a guide draws the model's latents, no others, and in the model's order.

    Only then is the KL the expected sum of the sites' own closed forms.
    """
    return list(guide) == list(latents)


# Averages over draws.


def log_mean_exp(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return log mean exp over draws with its standard error by the delta method.

        value = log 1/K sum_k w_k,    error = sd(w_k / mean(w)) / sqrt(K)

    The error is too small where a few weights dominate.

    Args:
        log_weights: log w_k in nats, `(draw, *)`.

    Returns:
        Value and error in nats, `(*)` each; the error of a single draw is NaN.

    Example:
        >>> value, error = log_mean_exp(torch.zeros(4, 2))
        >>> value, error
        (tensor([0., 0.]), tensor([0., 0.]))
    """
    value = log_weights.logsumexp(0) - math.log(len(log_weights))
    return value, mean_error((log_weights - value).exp())


def mean_error(values: Tensor) -> Tensor:
    """Return the standard error of the mean over draws, `(*)`.

    Args:
        values: of independent draws, `(draw, *)`.

    Returns:
        The error in the values' units; NaN for a single draw.

    Example:
        >>> mean_error(torch.tensor([[1.0], [3.0]]))
        tensor([1.])
    """
    count = len(values)
    if count < 2:
        return torch.full_like(values[0], math.nan)
    return values.std(0) / math.sqrt(count)
