"""Weighted draws of each datapoint's posterior, and whether they can be trusted."""

import math
from dataclasses import dataclass

from torch import Tensor

from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, tail_fit, threshold
from ppvae.engine import log_mean_exp

ENOUGH = 0.5
"""The shape k of the weights' tail below which their variance is finite: no better level is
tried."""

_EFFECTIVE = 0.05  # share of the draws that the weights must be worth
_FEWEST = 20.0  # or so many draws


@dataclass(frozen=True)
class Assessment:
    """What log weights tell of log P(X) and of themselves, `(data,)` each.

    Args:
        log_evidence: log P(X) in nats.
        error: its standard error, that of weights larger than those drawn included.
        pareto_k: the shape of the weights' tail.
        effective_sample_size: (sum w)^2 / sum w^2.
        draws: number of weights.
    """

    log_evidence: Tensor
    error: Tensor
    pareto_k: Tensor
    effective_sample_size: Tensor
    draws: int

    def below(self, k: float) -> Tensor:
        """Tell where the tail is lighter than k, and the weights are worth enough draws."""
        enough = max(_FEWEST, _EFFECTIVE * self.draws)
        finite = self.log_evidence.isfinite() & self.error.isfinite()
        return (self.pareto_k < k) & (self.effective_sample_size >= enough) & finite

    @property
    def good(self) -> Tensor:
        """Where no better level is needed."""
        return self.below(ENOUGH)

    @property
    def trusted(self) -> Tensor:
        """Where averages by these weights are reliable."""
        return self.below(threshold(max(self.draws, FEWEST_DRAWS)))


def assess(log_weights: Tensor, memory: int) -> Assessment:
    """Assess log weights, `(draw, data)`.

    Args:
        log_weights: in nats; those that are NaN or +inf make a datapoint untrusted.
        memory: bound in bytes on the intermediate tensors.
    """
    draws = len(log_weights)
    bad = (log_weights.isnan() | (log_weights == math.inf)).any(0)
    known = log_weights.masked_fill(bad, 0.0)
    value, error = log_mean_exp(known.double())
    none = value == -math.inf
    fit = tail_fit(known.masked_fill(none, 0.0), memory=memory)
    relative = known.masked_fill(none, 0.0).double().softmax(0)
    unknown = bad | none
    unseen = fit.unseen(fit.shape, draws)
    return Assessment(
        value.masked_fill(bad, math.nan),
        error.hypot(unseen).masked_fill(unknown, math.nan),
        fit.shape.masked_fill(unknown, math.nan),
        (1 / relative.square().sum(0)).masked_fill(unknown, 0.0),
        draws,
    )
