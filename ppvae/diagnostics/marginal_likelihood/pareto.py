"""How heavy the tail of the importance weights of each datapoint is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from ppvae.engine import MEMORY, Unsupported

_FEWEST = 5  # draws in a tail to which a distribution can be fitted
_SHAPES = 1e-3  # from 0 and 1 on, formulas that divide by k or 1 - k are exact to a thousandth
FEWEST_DRAWS = 21
"""The number of draws from which on their largest fifth holds so many."""


def threshold(draws: int) -> float:
    """Return the largest k at which averages over that many draws are reliable.

    min(1 - 1/log10(S), 0.7), of S draws (Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed
    Importance Sampling", 2024).
    """
    return min(1 - 1 / math.log10(draws), 0.7)


def tail_shape(log_weights: Tensor, *, memory: int = MEMORY) -> Tensor:
    """Return the shape k of the tail of each column of log weights.

    Everything is computed from logarithms, so weights neither overflow nor underflow. Weights
    that are equal up to the rounding of the dtype of `log_weights` have k = -inf. Only weights
    strictly above the cutoff count. Where fewer than five are left, no fit is possible; k is then
    computed from the share s of the total weight that the n largest of S draws carry, as for a
    Pareto distribution, s = (n / S)^(1 - k): near 0 if they are hardly larger than the rest, 1 if
    they carry all.

    Args:
        log_weights: `(draw, data)`, in nats; -inf for no weight.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        k, `(data,)`; NaN for a datapoint whose weights hold NaN or +inf, or are all 0.

    Raises:
        Unsupported: if every datapoint is such.
        ValueError: with fewer than 21 draws.

    Example:
        >>> heavy, equal = -0.9 * torch.linspace(0.001, 1, 1000).log(), torch.zeros(1000)
        >>> [round(float(k), 1) for k in tail_shape(torch.stack([heavy, equal], dim=1))]
        [0.8, -inf]
    """
    return tail_fit(log_weights, memory=memory).shape


@dataclass(frozen=True)
class TailFit:
    """The generalized Pareto distribution fitted to the largest weights of each datapoint.

    Args:
        shape: k, as of `tail_shape`, `(data,)`.
        log_cutoff: log of the cutoff above which it is fitted, relative to the mean weight.
        log_median: log of its median excess over the cutoff, likewise.
        count: number of weights above the cutoff.
    """

    shape: Tensor
    log_cutoff: Tensor
    log_median: Tensor
    count: Tensor

    def unseen(self, shape: Tensor, draws: int) -> Tensor:
        """Estimate how much of log P(X) lies in weights larger than those drawn, in nats.

            log(1 + 1/S int_0^1 w(p / S) dp / mean w)

        where w(s) is the weight that a share s of all weights exceeds, by the fitted distribution
        with another shape k and its median. Of S draws, one exceeds w(1/S) on average, and in a
        third of all cases none does: log mean w is then too low by about this number, and its
        standard error by the delta method is too small as well. It is counted in full from k = 1/2
        on, where weights have no variance, and not at all up to k = 1/4, where the variance of
        the weights has one; linearly in k between.

        Args:
            shape: k, `(data,)`, such as the pooled one.
            draws: S, the number of draws.

        Returns:
            `(data,)`; inf for k >= 1, where the distribution has no mean, and 0 for NaN or where
            fewer than five weights lie above the cutoff.
        """
        k = shape.clamp(0.25, 1 - _SHAPES)
        count = self.count.clamp(min=1).double()
        log_scale = self.log_median - _log_median(k)
        # w = u + sigma ((n / p)^k - 1) / k; its mean over p in (0, 1):
        growth = (count**k / (1 - k) - 1) / k
        log_mass = torch.logaddexp(self.log_cutoff, log_scale + growth.log())
        share = (log_mass - math.log(draws)).exp().log1p() * (4 * k - 1).clamp(max=1)
        share = torch.where((self.count >= _FEWEST) & (shape > 0.25), share, 0.0)
        return torch.where(shape >= 1, math.inf, share)


def tail_fit(log_weights: Tensor, *, memory: int = MEMORY) -> TailFit:
    """Fit the tail of each column of log weights; arguments and errors are those of `tail_shape`.

    Example:
        >>> fit = tail_fit(-0.6 * torch.linspace(0.001, 1, 1000).log()[:, None])
        >>> round(float(fit.shape), 2), round(float(fit.unseen(fit.shape, 1000)), 3)
        (0.53, 0.046)
    """
    length = tail_length(len(log_weights))
    bad = _bad(log_weights)
    columns = log_weights.masked_fill(bad, 0.0).split(_columns(length, memory), dim=1)
    fit = joined_fits([TailFit(*_fitted(part, length)) for part in columns])
    return replace(fit, shape=fit.shape.masked_fill(bad, math.nan))


def joined_fits(parts: Sequence[TailFit]) -> TailFit:
    """Put fits of different datapoints together."""
    values = [[getattr(part, field.name) for part in parts] for field in fields(TailFit)]
    return TailFit(*(torch.cat(value) for value in values))


def smoothed(log_weights: Tensor, *, memory: int = MEMORY) -> Tensor:
    """Replace the largest weights by the expected order statistics of a fitted Pareto tail.

    The n weights w above the cutoff u become u + F^-1((i - 1/2) / n), i = 1, ..., n, in their
    order, F the generalized Pareto distribution that `tail_shape` fits, truncated at the largest
    of them (Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed Importance Sampling", 2024).
    Where the weights are equal, or fewer than five lie above the cutoff, they are unchanged.

    Args:
        log_weights: `(draw, data)`, in nats; -inf for no weight.
        memory: bound in bytes on the intermediate tensors.

    Returns:
        Smoothed log weights in float64, `(draw, data)`, not normalized; NaN where k is.

    Raises:
        Unsupported, ValueError: as `tail_shape` does.

    Example:
        >>> log_weights = torch.linspace(0, 1, 1000).pow(4)[:, None]
        >>> bool((smoothed(log_weights)[:900] == log_weights[:900]).all())
        True
    """
    length = tail_length(len(log_weights))
    bad = _bad(log_weights)
    parts = log_weights.masked_fill(bad, 0.0).split(_columns(length, memory), dim=1)
    return torch.cat([_smoothed(part, length) for part in parts], dim=1).masked_fill(bad, math.nan)


def _bad(log_weights: Tensor) -> Tensor:
    """Return which datapoints have weights that no tail can be fitted to; refuse if all have."""
    bad = ~(log_weights.amax(0).abs() < math.inf) | log_weights.isnan().any(0)
    if bool(bad.all()):
        raise Unsupported(
            "the log weights of every datapoint hold a NaN or +inf, or are all -inf; expected "
            "finite values, or -inf for some"
        )
    return bad


def _columns(length: int, memory: int) -> int:
    # A grid of 30 + sqrt(n) doubles for each of n draws of the tail, in about 8 copies.
    return max(1, memory // (8 * 8 * length * (30 + math.isqrt(length))))


def tail_length(draws: int) -> int:
    """Return the number of draws in the tail: M = ceil(min(S / 5, 3 sqrt(S))).

    Raises:
        ValueError: if those are too few for a fit.
    """
    length = math.ceil(min(draws / 5, 3 * math.sqrt(draws)))
    if length < _FEWEST:
        raise ValueError(
            f"draws must be at least {FEWEST_DRAWS}, so that a tail can be fitted to the largest "
            f"fifth of the weights; got {draws}"
        )
    return length


def _log_median(shape: Tensor) -> Tensor:
    """Return the log of the median of a generalized Pareto distribution of scale 1."""
    near_zero = shape.abs() < _SHAPES
    k = torch.where(near_zero, 1.0, shape)
    return torch.where(near_zero, math.log(2), torch.expm1(math.log(2) * k) / k).log()


def _fitted(log_weights: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tail = _Tail(log_weights, length)
    # log of the share of the total weight that the draws above the cutoff carry.
    carried = torch.where(tail.above, tail.values, -math.inf).logsumexp(0)
    log_share = carried - tail.all.logsumexp(0)
    log_fraction = (tail.count.clamp(min=1) / len(log_weights)).log()
    by_share = 1 - log_share / log_fraction
    shape = torch.where(tail.count < _FEWEST, by_share, tail.shape)
    shape = torch.where(tail.constant | (tail.count == 0), -math.inf, shape)
    log_mean = tail.all.logsumexp(0) - math.log(len(log_weights))
    # Without the shrinkage towards 0.5, the shape that belongs to the scale.
    unshrunk = tail.shape + 10 * (tail.shape - 0.5) / tail.count.clamp(min=1)
    log_median = tail.log_scale + _log_median(unshrunk) - log_mean
    return shape, tail.cutoff - log_mean, log_median, tail.count


def _smoothed(log_weights: Tensor, length: int) -> Tensor:
    tail = _Tail(log_weights, length)
    rank = torch.arange(length, device=log_weights.device, dtype=torch.float64)[:, None]
    log_survival = ((rank + 0.5) / tail.count.clamp(min=1)).clamp(max=1).log()
    # The quantile is sigma (exp(k e) - 1) / k, e = -log_survival, or sigma e for k = 0.
    exponent = -tail.shape * log_survival
    near_zero = tail.shape.abs() < torch.finfo(exponent.dtype).eps
    quantile = torch.where(near_zero, -log_survival, torch.expm1(exponent) / tail.shape)
    values = torch.logaddexp(tail.log_scale + quantile.log(), tail.cutoff).clamp(max=0)
    fitted = tail.above & ~tail.constant & (tail.count >= _FEWEST)
    raw = log_weights.double()
    replaced = torch.where(fitted, values + tail.largest, raw.gather(0, tail.index))
    return raw.scatter(0, tail.index, replaced)


class _Tail:
    """The largest weights of each column and the distribution fitted to them.

    Logarithms are relative to the column's largest.
    """

    def __init__(self, log_weights: Tensor, length: int) -> None:
        resolution = 64 * torch.finfo(log_weights.dtype).eps
        values = log_weights.double()
        self.largest = values.amax(0)
        spread = self.largest - values.amin(0)
        self.constant = spread <= resolution * self.largest.abs().clamp(min=1)
        self.all = values - self.largest
        top, index = self.all.topk(length + 1, dim=0)
        self.values, self.cutoff, self.index = top[:-1], top[-1], index[:-1]
        # log(w - u), in falling order.
        log_excess = self.values + (-torch.expm1(self.cutoff - self.values)).log()
        self.above = self.values > self.cutoff
        self.count = self.above.sum(0)
        self.shape, self.log_scale = _fit(log_excess, self.count.clamp(min=1))


def _fit(log_excess: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Fit k and log sigma of the generalized Pareto distribution to the first `count` excesses.

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
    shape = shape_at(mean)
    return (count * shape + 10 * 0.5) / (count + 10), (-shape / mean).log() + reference
