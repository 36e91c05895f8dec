"""Weighted draws of each datapoint's posterior, and whether they can be trusted."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, tail_fit, threshold
from ppvae.engine import log_mean_exp

ENOUGH = 0.5
"""The shape k of the weights' tail below which their variance is finite: no better level is
tried."""

_EFFECTIVE = 0.05  # share of the draws that the weights must be worth
_FEWEST = 20.0  # or so many draws
_BOUNDED = 0.05  # share of P(X) of a single draw that a known bound of the weights may allow


@dataclass(frozen=True)
class Assessment:
    """What log weights tell of log P(X) and of themselves, `(data,)` each.

    Args:
        log_evidence: log P(X) in nats.
        error: its standard error, that of weights larger than those drawn included.
        pareto_k: the shape of the weights' tail.
        effective_sample_size: (sum w)^2 / sum w^2.
        largest: the share of P(X) that a single draw can have, by a bound of the weights; inf
            where none is known.
        draws: number of weights.
    """

    log_evidence: Tensor
    error: Tensor
    pareto_k: Tensor
    effective_sample_size: Tensor
    largest: Tensor
    draws: int

    def below(self, k: float) -> Tensor:
        """Tell where the tail is lighter than k or bounded, and the weights worth many draws."""
        enough = max(_FEWEST, _EFFECTIVE * self.draws)
        finite = self.log_evidence.isfinite() & self.error.isfinite()
        light = (self.pareto_k < k) | (self.largest < _BOUNDED)
        return light & (self.effective_sample_size >= enough) & finite

    @property
    def good(self) -> Tensor:
        """Where no better level is needed."""
        return self.below(ENOUGH)

    @property
    def trusted(self) -> Tensor:
        """Where averages by these weights are reliable."""
        return self.below(threshold(max(self.draws, FEWEST_DRAWS)))


def assess(log_weights: Tensor, memory: int, log_bound: Tensor | None = None) -> Assessment:
    """Assess log weights, `(draw, data)`.

    A part of P(X) that no draw has met is at most about the largest weight over the number of
    draws: where weights have a known bound, it limits what the fitted tail says.

    Args:
        log_weights: in nats; those that are NaN or +inf make a datapoint untrusted.
        memory: bound in bytes on the intermediate tensors.
        log_bound: a bound of the log weights, `(data,)`, where one is known.
    """
    draws = len(log_weights)
    bad = (log_weights.isnan() | (log_weights == math.inf)).any(0)
    known = log_weights.masked_fill(bad, 0.0)
    value, error = log_mean_exp(known.double())
    none = value == -math.inf
    fit = tail_fit(known.masked_fill(none, 0.0), memory=memory)
    relative = known.masked_fill(none, 0.0).double().softmax(0)
    unknown = bad | none
    largest = torch.full_like(value, math.inf)
    if log_bound is not None:
        largest = (log_bound.double() - value).exp() / draws
    unseen = fit.unseen(fit.shape, draws).minimum(largest)
    return Assessment(
        value.masked_fill(bad, math.nan),
        error.hypot(unseen).masked_fill(unknown, math.nan),
        fit.shape.masked_fill(unknown, math.nan),
        (1 / relative.square().sum(0)).masked_fill(unknown, 0.0),
        largest.masked_fill(unknown, math.inf),
        draws,
    )
