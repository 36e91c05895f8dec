"""Weighted draws of each datapoint's posterior, and whether they can be trusted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, tail_fit, threshold
from ppvae.engine import log_mean_exp

ENOUGH = 0.5
"""The shape k of the weights' tail below which their variance is finite: no better level is
tried."""

_EFFECTIVE, _FEWEST = 0.05, 20.0  # share of the draws that the weights must be worth, or so many
_MANY = 2.0  # times that, where no better level is tried
_ERRORS, _ROUNDING = 3.0, 1e-3  # by which two estimates of log P(X) may differ
_SAME = 0.1  # difference between two estimates of k that may be chance, about a standard error
_EVEN = 0.01  # nats up to which log weights differ by rounding alone
_BOUNDED = 0.05  # share of P(X) of a single draw that a known bound of the weights may allow


@dataclass(frozen=True)
class Assessment:
    """What log weights tell of log P(X) and of themselves, `(data,)` each.

    Args:
        log_evidence: log P(X) in nats.
        error: its standard error, `unseen` included.
        unseen: how much of log P(X) may lie in weights larger than those drawn.
        pareto_k: the shape of the weights' tail.
        effective_sample_size: (sum w)^2 / sum w^2.
        largest: the share of P(X) that a single draw can have, by a bound of the weights; inf
            where none is known.
        of_weights: k of the weights alone; `pareto_k` is at least that, and that of the weights
            times the distance from the mean.
        unseen_shift: by how many posterior standard deviations draws farther out than those drawn
            may move a posterior mean.
        draws: number of weights.
    """

    log_evidence: Tensor
    error: Tensor
    unseen: Tensor
    pareto_k: Tensor
    effective_sample_size: Tensor
    largest: Tensor
    of_weights: Tensor
    unseen_shift: Tensor
    draws: int

    def at(self, chosen: Tensor) -> "Assessment":
        """Return what is said of some of the datapoints."""
        columns: dict[str, Any] = {name: values[chosen] for name, values in self._columns.items()}
        return replace(self, **columns)

    def with_rows(self, part: "Assessment", chosen: Tensor) -> "Assessment":
        """Return it with what is said of some of the datapoints replaced."""
        columns: dict[str, Any] = {n: values.clone() for n, values in self._columns.items()}
        for name, values in part._columns.items():
            columns[name][chosen] = values
        return replace(self, **columns)

    def agrees(self, other: "Assessment") -> Tensor:
        """Tell where both say the same of log P(X), up to their errors."""
        difference = (self.log_evidence - other.log_evidence).abs()
        return difference < _ERRORS * self.error.hypot(other.error) + _ROUNDING

    @property
    def _columns(self) -> dict[str, Tensor]:
        return {name: values for name, values in vars(self).items() if name != "draws"}

    def _below(self, k: float, share: float) -> Tensor:
        """Tell where tails are lighter than k or bounded, and the weights worth many draws."""
        # What is no heavier than weights that are bounded is bounded too.
        bounded = (self.largest < _BOUNDED) & (self.pareto_k < self.of_weights + _SAME)
        light = (self.pareto_k < k) | bounded
        enough = self.effective_sample_size >= max(_FEWEST, share * self.draws)
        return light & enough & self.log_evidence.isfinite() & self.error.isfinite()

    @property
    def good(self) -> Tensor:
        """Where no better level is needed."""
        return self._below(ENOUGH, _MANY * _EFFECTIVE)

    @property
    def trusted(self) -> Tensor:
        """Where averages by these weights are reliable."""
        return self._below(threshold(max(self.draws, FEWEST_DRAWS)), _EFFECTIVE)


@dataclass(frozen=True)
class Weighted:
    """Weighted draws of some datapoints.

    Args:
        level: the place among the levels of what they are drawn from.
        rows: which datapoints of the target.
        vectors: the draws, `(draw, data, value)`.
        log_weights: log p(x, u) - log r(u), r the density of the draws, `(draw, data)`.
        assessment: how good they are.
    """

    level: int
    rows: Tensor
    vectors: Tensor
    log_weights: Tensor
    assessment: Assessment

    def at(self, chosen: Tensor) -> "Weighted":
        """Return those of some of the datapoints, by True and False for each."""
        return Weighted(
            self.level,
            self.rows[chosen],
            self.vectors[:, chosen],
            self.log_weights[:, chosen],
            self.assessment.at(chosen),
        )


def assess(
    log_weights: Tensor,
    latents: Mapping[str, Tensor],
    memory: int,
    log_bound: Tensor | None = None,
) -> Assessment:
    """Assess log weights, `(draw, data)`.

    A part of P(X) that no draw has met is at most about the largest weight over the number of
    draws: where weights have a known bound, it limits what the fitted tail says. An average of z
    is decided by the tail of w |z - mean| too, which may be heavier (Vehtari, Simpson, Gelman, Yao
    and Gabry, "Pareto Smoothed Importance Sampling", 2024).

    Args:
        log_weights: in nats; those that are NaN or +inf make a datapoint untrusted.
        latents: what is averaged, `(draw, data, ...)`, by site.
        memory: bound in bytes on the intermediate tensors.
        log_bound: a bound of the log weights, `(data,)`, where one is known.
    """
    draws = len(log_weights)
    bad = (log_weights.isnan() | (log_weights == math.inf)).any(0)
    known = log_weights.masked_fill(bad, 0.0)
    known = known.double()
    value, error = log_mean_exp(known)
    none = value == -math.inf
    if bool(none.any()):
        known, value = known.masked_fill(none, 0.0), value.masked_fill(none, 0.0)
    even = known.amax(0) - known.amin(0) < _EVEN
    fit = tail_fit(known, memory=memory)
    relative = (known - value).exp() / draws
    # Where all weights are equal, the average of z is one of independent draws.
    shape = fit.shape.masked_fill(even, -math.inf)
    shift = torch.zeros_like(value)
    uneven = (~even).nonzero()[:, 0]
    if len(uneven):
        some = {name: values[:, uneven] for name, values in latents.items()}
        distance = _log_distance(relative[:, uneven], some)
        farther = tail_fit(known[:, uneven] + distance, memory=memory)
        shape[uneven] = torch.fmax(shape[uneven], farther.shape)
        # The tails of averages of z decide alone what is not seen of them, and k is an estimate.
        average = (relative[:, uneven] * distance.exp()).sum(0)
        shift[uneven] = farther.unseen(farther.shape + _SAME, draws).expm1() * average
    unknown = bad | none
    largest = torch.full_like(value, math.inf)
    if log_bound is not None:
        largest = (log_bound.double() - value).exp() / draws
    unseen = fit.unseen(fit.shape, draws).minimum(largest)
    return Assessment(
        value.masked_fill(none, -math.inf).masked_fill(bad, math.nan),
        error.hypot(unseen).masked_fill(unknown, math.nan),
        unseen.masked_fill(unknown, math.nan),
        shape.masked_fill(unknown, math.nan),
        (1 / relative.square().sum(0)).masked_fill(unknown, 0.0),
        largest.masked_fill(unknown, math.inf),
        fit.shape.masked_fill(unknown, math.nan),
        shift.masked_fill(unknown, math.nan),
        draws,
    )


def _log_distance(weights: Tensor, latents: Mapping[str, Tensor]) -> Tensor:
    """Return log(1 + the largest |z - mean| of any latent, in standard deviations)."""
    farthest = torch.zeros_like(weights)
    for values in latents.values():
        flat = values.reshape(*values.shape[:2], -1).double()
        flat = flat.masked_fill(weights.unsqueeze(-1) == 0, 0.0)  # it may be infinite
        mean = (weights.unsqueeze(-1) * flat).sum(0)
        deviation = (weights.unsqueeze(-1) * (flat - mean).square()).sum(0).sqrt()
        distance = ((flat - mean).abs() / deviation.clamp(min=1e-12)).amax(-1)
        farthest = farthest.maximum(distance.nan_to_num(nan=0.0, posinf=0.0))
    return farthest.log1p()
