"""Closed forms of KL[q || p] that torch lacks."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    register_kl,
)


def _kl(q: MultivariateNormal | LowRankMultivariateNormal, p: "Independent[Any]") -> Tensor:
    """KL[N(m, S) || prod_i N(l_i, s_i^2)].

    1/2 sum_i (S_ii + (m_i - l_i)^2) / s_i^2 + sum_i log s_i - 1/2 log det S - d/2.
    """
    factors = p.base_dist
    if not isinstance(factors, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError
    if q.event_shape != p.event_shape:
        raise ValueError(
            "the KL of a normal distribution to a factorized one needs both over as many "
            f"features, got {q.event_shape[0]} and {p.event_shape[0]}"
        )
    log_peak: Tensor = q.log_prob(q.loc)  # type: ignore[no-untyped-call]
    log_determinant = -2 * log_peak - q.event_shape[0] * math.log(2 * math.pi)
    square = (q.variance + (q.loc - factors.loc).square()) / factors.scale.square()
    terms = 0.5 * square + torch.log(factors.scale) - 0.5
    kl: Tensor = terms.sum(-1) - 0.5 * log_determinant
    return kl


for _family in (MultivariateNormal, LowRankMultivariateNormal):
    register_kl(_family, Independent)(_kl)
