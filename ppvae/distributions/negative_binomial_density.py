"""The log density of the negative binomial distribution, in double precision and little memory."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.functional import logsigmoid, softplus
from torch.overrides import has_torch_function

_LARGE = 1e4  # from here on the series below is exact to double precision
_CUT = 40  # from here on log(1 + exp(t)) is t to double precision
_MANY = 2**16  # values from which on the density is computed in pieces
_PIECE = 2**15  # values at once: what is computed of them stays in the processor's cache

_Three: TypeAlias = tuple[Tensor, Tensor, Tensor]


def negative_binomial_log_prob(x: Tensor, log_mean: Tensor, r: Tensor) -> Tensor:
    """Return log P(x) in nats, as `NegativeBinomial` defines it, of the dtype of `log_mean`.

    Of many values it is computed a piece at a time, with its derivatives in closed form: kept for
    the gradient are the arguments alone, not a dozen terms of each value in double precision.
    And log Gamma is computed where x is not 0, which counts of single cells mostly are.

    Args:
        x: counts, `(*)`.
        log_mean: log m, `(*)`.
        r: the total count, `(*)`.

    Example:
        >>> zeros, some = torch.zeros(70_000), torch.tensor([1.0, 2.0])
        >>> whole = negative_binomial_log_prob(torch.cat([some, zeros]), zeros[0], zeros[0] + 1)
        >>> torch.equal(whole[:2], negative_binomial_log_prob(some, zeros[0], zeros[0] + 1))
        True
    """
    given = torch.broadcast_tensors(x, log_mean, r)
    if _in_pieces(given):
        scores: Tensor = _InPieces.apply(*given)  # type: ignore[no-untyped-call]
        return scores
    return _log_prob(*map(Tensor.double, given)).to(log_mean.dtype)


def _in_pieces(given: _Three) -> bool:
    x = given[0]
    if x.numel() < _MANY or x.device.type != "cpu" or x.requires_grad:
        return False
    # A graph that is captured repeats operations, and generated code keeps no terms anyway.
    if has_torch_function(given) or torch.compiler.is_compiling():
        return False
    return all(forward_ad.unpack_dual(tensor).tangent is None for tensor in given)


class _InPieces(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, log_mean: Tensor, r: Tensor) -> Tensor:
        scores = log_mean.new_empty(x.numel())
        for piece, given in _pieces(x, log_mean, r):
            found = _log_prob(given[0], given[1], given[2], _not_zero(given[0]))
            scores[piece] = found.to(scores.dtype)
        return scores.view(x.shape)

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Any) -> None:
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Any:
        given, (gradient,) = context.saved_tensors, gradients
        if torch.is_grad_enabled():  # a second derivative may follow
            slopes = _slopes(*map(Tensor.double, given))
            return None, *(
                (gradient * slope).to(like.dtype)
                for slope, like in zip(slopes, given[1:], strict=True)
            )
        by_log_mean, by_r = (torch.empty(like.numel(), dtype=like.dtype) for like in given[1:])
        outer = gradient.reshape(-1)
        for piece, values in _pieces(*given):
            slopes = _slopes(values[0], values[1], values[2], _not_zero(values[0]))
            by_log_mean[piece] = slopes[0].mul_(outer[piece])
            by_r[piece] = slopes[1].mul_(outer[piece])
        return None, by_log_mean.view(gradient.shape), by_r.view(gradient.shape)

    @staticmethod
    def vmap(info: Any, places: Any, *given: Tensor) -> tuple[Tensor, int]:
        front = (
            tensor if place is None else tensor.movedim(place, 0)
            for tensor, place in zip(given, places, strict=True)
        )
        return negative_binomial_log_prob(*front), 0


def _pieces(*given: Tensor) -> Iterator[tuple[slice, Any]]:
    """Yield places among all values and the tensors' values there, in double precision."""
    flat = [tensor.reshape(-1) for tensor in given]
    for start in range(0, len(flat[0]), _PIECE):
        piece = slice(start, start + _PIECE)
        yield piece, [tensor[piece].double() for tensor in flat]


def _not_zero(x: Tensor) -> Tensor:
    return x.nonzero().squeeze(1)


def _log_prob(x: Tensor, log_mean: Tensor, r: Tensor, at: Tensor | None = None) -> Tensor:
    """Return log P(x); `at` are the places of vectors where x is not 0, all unless given."""
    # Not softplus, which torch cuts off above 20.
    log_ratio = -logsigmoid(r.log() - log_mean)  # log(1 + m / r)
    if at is None:
        return _log_rising_ratio(x, r) + x * log_mean - (x + r) * log_ratio - torch.lgamma(x + 1)
    counts = x[at]
    scores = x * log_mean
    scores[at] += _log_rising_ratio(counts, r[at])
    scores -= log_ratio.mul_(x + r)
    scores[at] -= torch.lgamma(counts + 1)
    return scores


def _slopes(
    x: Tensor, log_mean: Tensor, r: Tensor, at: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the derivatives of log P(x) by log m and by r."""
    log_odds = log_mean - r.log()
    share = torch.sigmoid(log_odds)  # m / (r + m)
    used = (x + r) * share
    by_r = used / r - softplus(log_odds, threshold=_CUT)
    if at is None:
        return x - used, by_r + _slope_of_log_rising_ratio(x, r)
    by_r[at] += _slope_of_log_rising_ratio(x[at], r[at])
    return x - used, by_r


def _log_rising_ratio(x: Tensor, r: Tensor) -> Tensor:
    """Return D(x, r) = log Gamma(x + r) - log Gamma(r) - x log r; it tends to 0 as r grows."""
    large = r > _LARGE
    # The unused branch of each gets a number at which its derivative is finite.
    small_r, large_r = torch.where(large, _LARGE, r), torch.where(large, r, _LARGE)
    direct = torch.lgamma(x + small_r) - torch.lgamma(small_r) - x * small_r.log()
    series = (x + large_r - 0.5) * torch.log1p(x / large_r) - x
    return torch.where(large, series + _stirling(x + large_r) - _stirling(large_r), direct)


def _slope_of_log_rising_ratio(x: Tensor, r: Tensor) -> Tensor:
    """Return the derivative of D(x, r) by r."""
    large = r > _LARGE
    small_r, large_r = torch.where(large, _LARGE, r), torch.where(large, r, _LARGE)
    direct = torch.digamma(x + small_r) - torch.digamma(small_r) - x / small_r
    sum_ = x + large_r
    series = torch.log1p(x / large_r) - x * (1 - 0.5 / sum_) / large_r
    series = series + _slope_of_stirling(sum_) - _slope_of_stirling(large_r)
    return torch.where(large, series, direct)


def _stirling(t: Tensor) -> Tensor:
    """Return log Gamma(t) - (t - 1/2) log t + t - log(2 pi) / 2 for large t."""
    return (1 / 12 - 1 / (360 * t.square())) / t


def _slope_of_stirling(t: Tensor) -> Tensor:
    """Return the derivative of `_stirling`."""
    return (1 / (120 * t.square()) - 1 / 12) / t.square()
