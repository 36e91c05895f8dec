"""Distributions that can score their own draws alone, as Pyro's flows without an inverse.

Such a flow keeps what it computed for its last draw, and finds it again by the same tensor.
"""

from typing import Any

from torch import Tensor

from ppvae.engine.sites import Sites

CANNOT_SCORE = (NotImplementedError, KeyError)
"""What a guide raises that can only score its own draws: Pyro's flows without an inverse know
the draws that they made, as the same tensors."""


def own_draws_alone(guide: Sites) -> dict[str, str]:
    """Return the sites whose distributions can score their own draws alone, with the reason.

    A flow forgets its own draw where it scores another one, so this comes after all scoring.
    """
    reasons = {}
    for name, site in guide.items():
        try:
            site["fn"].log_prob(site["value"].clone())
        except CANNOT_SCORE:
            reasons[name] = f"{_culprit(site['fn'], site['value'])} has no inverse"
    return reasons


def _culprit(distribution: Any, value: Tensor) -> str:
    """Name the transform that has no inverse, or the distribution where none is found."""
    inner = distribution
    while not hasattr(inner, "transforms") and hasattr(inner, "base_dist"):
        inner = inner.base_dist
    value = value.clone()
    for transform in reversed(getattr(inner, "transforms", ())):
        try:
            value = transform.inv(value)
        except CANNOT_SCORE:
            return f"the transform {type(transform).__name__}"
    return f"the distribution {type(inner).__name__}"
