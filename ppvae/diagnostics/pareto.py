"""How heavy the tail of the importance weights is, datapoint by datapoint."""

import math

import torch
from torch import Tensor

_MEMORY = 32 * 2**20  # larger chunks leave the processor's caches and gain nothing
_FEWEST = 5  # draws in a tail that can be fitted
FEWEST_DRAWS = 21
"""Draws whose largest fifth is such a tail."""


def threshold(draws: int) -> float:
    """Return the k up to which that many draws give averages that can be trusted.

    min(1 - 1/log10(S), 0.7), of S draws (Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed
    Importance Sampling", 2024).
    """
    return min(1 - 1 / math.log10(draws), 0.7)


def tail_shape(log_weights: Tensor, *, memory: int = _MEMORY) -> Tensor:
    """Return the shape k of the tail of each column of log weights.

    All is computed from logarithms, so no weight is too small or too large. Weights that are
    equal up to the rounding of the dtype of `log_weights` have k = -inf. Only weights above the
    cutoff count, ties with it do not; where fewer than five are left, no fit is possible, and k is
    the one at which the share s of the total weight that the n largest of S draws carry is that of
    a Pareto distribution, s = (n / S)^(1 - k): near 0 if they are hardly larger than the rest,
    1 if they carry all.

    Args:
        log_weights: `(draw, data)`, in nats; -inf for no weight.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        k, `(data,)`.

    Raises:
        ValueError: with fewer than 21 draws, for NaN and +inf, or where all weights are 0.

    Example:
        >>> heavy, equal = -0.9 * torch.linspace(0.001, 1, 1000).log(), torch.zeros(1000)
        >>> [round(float(k), 1) for k in tail_shape(torch.stack([heavy, equal], dim=1))]
        [0.8, -inf]
    """
    length = tail_length(len(log_weights))
    bad = (~(log_weights.amax(0).abs() < math.inf) | log_weights.isnan().any(0)).nonzero()
    if len(bad):
        raise ValueError(
            f"the log weights of datapoint {int(bad[0])} hold a NaN or +inf, or are all -inf; "
            "expected finite values, or -inf for some"
        )
    # A grid of 30 + sqrt(n) values for each of n draws of the tail, in a few copies.
    columns = max(1, memory // (8 * 8 * length * (30 + math.isqrt(length))))
    return torch.cat([_shapes(part, length) for part in log_weights.split(columns, dim=1)])


def tail_length(draws: int) -> int:
    """Return how many of the draws make the tail: M = ceil(min(S / 5, 3 sqrt(S))).

    Raises:
        ValueError: if those are too few for a fit.
    """
    length = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    if length < _FEWEST:
        raise ValueError(
            f"draws must be at least {FEWEST_DRAWS}, so that the largest fifth of the weights "
            f"holds {_FEWEST} to fit a tail to; got {draws}"
        )
    return length


def _shapes(log_weights: Tensor, length: int) -> Tensor:
    resolution = 64 * torch.finfo(log_weights.dtype).eps
    values = log_weights.double()
    largest = values.amax(0)
    spread = largest - values.amin(0)
    constant = spread <= resolution * largest.abs().clamp(min=1)

    top = (values - largest).topk(length + 1, dim=0).values
    tail, cutoff = top[:-1], top[-1]
    log_excess = tail + (-torch.expm1(cutoff - tail)).log()  # log(w - u), in falling order
    count = (tail > cutoff).sum(0)
    bounded = constant | (count == 0)
    fitted = _fit(log_excess, count.clamp(min=1))

    # log of the share that the draws above the cutoff carry of all weight.
    carried = torch.where(tail > cutoff, tail, -math.inf).logsumexp(0)
    log_share = carried - (values - largest).logsumexp(0)
    log_fraction = (count.clamp(min=1) / len(values)).log()
    by_share = 1 - log_share / log_fraction
    shape = torch.where(count < _FEWEST, by_share, fitted)
    return torch.where(bounded, -math.inf, shape)


def _fit(log_excess: Tensor, count: Tensor) -> Tensor:
    """Fit the generalised Pareto distribution to the first `count` excesses of each column.

    Zhang and Stephens average b = -k / sigma over a grid with the weights of its profile
    likelihood, n (log(-b / k(b)) + ... ), k(b) being the mean of log(1 - b x). Here b is in units
    of 1 / x*, x* the first quartile, and x is in logarithms.
    """
    length = len(log_excess)
    inside = torch.arange(length, device=count.device)[:, None] < count
    quartile = (count - (count / 4 + 0.5).floor().long()).clamp(max=length - 1)
    quartile = torch.minimum(quartile, count - 1)
    reference = log_excess.gather(0, quartile[None])[0]
    distance = torch.where(inside, log_excess - reference, 0.0)  # log(x / x*)
    points = 30 + count.double().sqrt().floor()
    index = torch.arange(1, 31 + math.isqrt(length), device=count.device)[:, None]
    used = index <= points
    steps = (1 - (points / (index - 0.5)).sqrt()) / 3
    b = (reference - log_excess[0]).exp() + steps
    b = torch.where(b == 0, torch.finfo(b.dtype).tiny, b)

    def shape_at(b: Tensor) -> Tensor:
        """Return the mean of log(1 - b x) over the tail: `(..., data)`."""
        b, inner = b[..., None, :], distance
        near = torch.log1p(-b * inner.clamp(max=500).exp())
        far = (-b).log() + inner  # b < 0 there: the largest excess bounds b from above
        return torch.where(inside, torch.where(inner > 500, far, near), 0.0).sum(-2) / count

    shapes = shape_at(b)
    log_likelihood = count * ((-b / shapes).log() - shapes - 1)
    weights = torch.where(used, log_likelihood, -math.inf).softmax(0)
    weights = torch.where(weights >= 10 * torch.finfo(b.dtype).eps, weights, 0.0)
    mean = (weights * torch.where(used, b, 0.0)).sum(0) / weights.sum(0)
    return (count * shape_at(mean) + 10 * 0.5) / (count + 10)
