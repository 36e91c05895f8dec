"""What weighted draws of features say: values, intervals and probabilities of levels."""

import torch
from torch import Tensor

LOW, HIGH = 0.05, 0.95
"""The ends of the intervals."""


def summarized(
    x: Tensor, weights: Tensor, kept: dict[int, int], imputations: int
) -> dict[str, Tensor]:
    """Reduce draws `(draw, data, features)` with weights `(draw, data)` to what is asked for."""
    value = torch.einsum("sd,sdf->df", weights, x)
    ordered, order = x.sort(0)
    mass = weights.unsqueeze(-1).expand_as(x).gather(0, order).cumsum(0)
    ends = [_quantile(ordered, mass, level) for level in (LOW, HIGH)]
    probability = torch.full_like(value, torch.nan)
    for place, count in kept.items():
        levels = torch.arange(count, device=x.device)
        votes = torch.einsum("sd,sdl->dl", weights, (x[..., place, None] == levels).double())
        probability[:, place], best = votes.max(1)
        value[:, place] = best.to(value)
    found = {"value": value, "low": ends[0], "high": ends[1], "probability": probability}
    if imputations:
        index = torch.multinomial(weights.T, imputations, replacement=True)  # (data, imputation)
        rows = torch.arange(len(index), device=x.device)[:, None]
        found["imputed"] = x[index, rows]
    return found


def _quantile(ordered: Tensor, mass: Tensor, level: float) -> Tensor:
    """Return the least value below which lies a share of the weight, `(data, features)`."""
    place = (mass < level).sum(0).clamp(max=len(ordered) - 1)
    return ordered.gather(0, place.unsqueeze(0))[0]
