"""Which numbers of a site count: masks around the site, and within its distribution."""

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

_NAN_MASKED = (dist.NanMaskedNormal, dist.NanMaskedMultivariateNormal)
_WRAPPERS = (torch.distributions.Independent, dist.ExpandedDistribution, dist.MaskedDistribution)


def unmasked(site: dict[str, Any]) -> Tensor:
    """Return which numbers of a site's value no mask hides, `(*batch, *event)`.

    Masks are those of `poutine.mask`, of `.mask(...)` at any depth of the distribution, within
    the components of a mixture too, and NaN in the data of Pyro's `NanMasked` distributions.
    """
    value = site["value"]
    kept = _aligned(site["mask"], site["fn"].event_dim, value)
    kept = kept & _within(site["fn"], value)
    return kept.expand(torch.broadcast_shapes(kept.shape, value.shape))


def is_masked(site: dict[str, Any]) -> bool:
    """Tell whether a mask stands around a site or within its distribution."""
    around = site["mask"] is not None and site["mask"] is not True
    return around or _holds_mask(site["fn"])


def misplaced_mask(distribution: Any) -> str | None:
    """Say where a mask stands that does not hide whole numbers; None if there is none."""
    base = without_wrappers(distribution)
    name = type(base).__name__.lstrip("_")
    if isinstance(base, dist.MaskedMixture):
        return misplaced_mask(base.component0) or misplaced_mask(base.component1)
    if isinstance(base, torch.distributions.MixtureSameFamily):
        component: Any = base.component_distribution
        kept = _within(component, torch.zeros(component.batch_shape + component.event_shape))
        along = -1 - component.event_dim
        if kept.dim() >= -along and bool((kept != kept.narrow(along, 0, 1)).any()):
            return f"the components of {name} are masked differently; give all the same mask"
        return misplaced_mask(component)
    if any(_holds_mask(part) for part in _parts(base)):
        return (
            f"a mask stands inside {name}, of which it hides a part only; write "
            f"{name}(...).mask(...)"
        )
    return None


def masked_alike(first: Any, second: Any) -> bool:
    """Tell whether two distributions hold the same masks, so that a KL counts the same numbers."""
    if not (_holds_mask(first) or _holds_mask(second)):
        return True
    value = torch.zeros(first.batch_shape + first.event_shape)
    masks = (_within(distribution, value) for distribution in (first, second))
    one, other = torch.broadcast_tensors(*masks)
    return torch.equal(one, other)


def without_wrappers(distribution: Any) -> Any:
    """Return a distribution without event dimensions, expansions and masks around it."""
    while isinstance(distribution, _WRAPPERS):
        distribution = distribution.base_dist
    return distribution


def _within(distribution: Any, value: Tensor) -> Tensor:
    """Return which numbers of a value the masks of its distribution leave, to be broadcast."""
    if isinstance(distribution, dist.MaskedDistribution):
        here = _aligned(distribution._mask, distribution.event_dim, value)
        return here & _within(distribution.base_dist, value)
    if isinstance(distribution, _WRAPPERS):
        return _within(distribution.base_dist, value)
    if isinstance(distribution, _NAN_MASKED):
        return value.isfinite()
    if isinstance(distribution, torch.distributions.MixtureSameFamily):
        mixture: Any = distribution
        along = -1 - mixture.event_dim
        component = _within(mixture.component_distribution, value.unsqueeze(along))
        return component.all(along) if component.dim() >= -along else component
    if isinstance(distribution, dist.MaskedMixture):
        chosen = _aligned(distribution.mask, distribution.event_dim, value)
        first, second = distribution.component1, distribution.component0
        return torch.where(chosen, _within(first, value), _within(second, value))
    return torch.ones((), dtype=torch.bool, device=value.device)


def _aligned(mask: Any, event_dim: int, value: Tensor) -> Tensor:
    """Return a mask of batches as one of numbers, to be broadcast over the event dimensions."""
    kept = torch.as_tensor(True if mask is None else mask, device=value.device).bool()
    return kept.reshape(*kept.shape, *(1,) * event_dim) if kept.dim() else kept


def _holds_mask(distribution: Any) -> bool:
    """Tell whether a mask stands anywhere within a distribution."""
    if isinstance(distribution, dist.MaskedDistribution) and distribution._mask is not True:
        return True
    return any(_holds_mask(part) for part in _parts(distribution))


def _parts(distribution: Any) -> list[torch.distributions.Distribution]:
    values = vars(distribution).values()
    return [value for value in values if isinstance(value, torch.distributions.Distribution)]
