"""Reduces the draws of the best posteriors to the gaps, and to how far they can be trusted."""

import math
from dataclasses import fields

import torch
from torch import Tensor

from ppvae.diagnostics.marginal_likelihood import (
    FEWEST_DRAWS,
    OF_WEIGHTS,
    TailFit,
    tail_fit,
    tail_terms,
)
from ppvae.engine import Unsupported, log_mean_exp, mean_error
from ppvae.refinement import Estimate, Found

RISES = ("rise", "normal_rise")
_COUNT, _SEARCHED = "draws of the mixture", "family searched"  # of each datapoint, for `finished`
_FIT = tuple(field.name for field in fields(TailFit))
_ERRORS = 4  # standard errors; by chance alone one of 30,000 datapoints exceeds them
_FINITE = ("log_evidence", "elbo", "optimal_elbo", "normal_elbo")


def reduced(found: Found, given: Tensor | None, memory: int) -> dict[str, Tensor]:
    """Reduce the draws of some datapoints to the gaps and the fits of tails, `(data,)` each.

    Args:
        found: the draws.
        given: log P(X) from elsewhere and its error, `(2, data)`.
        memory: bound in bytes on the intermediate tensors.
    """
    mixture, terms = found.mixture, found.guide_terms
    log_weights = mixture.log_weights().flatten(0, 1)
    log_evidence = mixture.log_evidence()
    elbos = [mixture.elbo(index) for index in range(len(mixture.log_joint))]
    unknown = torch.full_like(log_evidence.value, math.nan)
    if terms is None:
        elbo, optimal, *normal = elbos
        rises = list(found.rises)
    else:
        elbo, normal = mixture.given(terms.mean(0), mean_error(terms)), elbos
        optimal = mixture.given(unknown, unknown)
        rises = [unknown.expand(2, -1), *found.rises]
        log_evidence, log_weights = _better(log_evidence, log_weights, terms)
    if given is not None:
        log_evidence = mixture.given(*given)
    estimates = {
        "total": log_evidence - elbo,
        "approximation": log_evidence - optimal,
        "amortization": optimal - elbo,
        "log_evidence": log_evidence,
        "elbo": elbo,
        "optimal_elbo": optimal,
    }
    for best in normal:
        estimates |= {
            "correlation": best - optimal,
            "normal_approximation": log_evidence - best,
            "normal_elbo": best,
        }
    values = {name: estimate.value for name, estimate in estimates.items()}
    values |= {f"{name}_error": estimate.error for name, estimate in estimates.items()}
    for name, rise in zip(RISES, rises, strict=False):
        values |= {name: rise.mean(0), f"{name}_error": mean_error(rise)}
    if given is None and len(log_weights) >= FEWEST_DRAWS:
        fit = tail_fit(log_weights, memory=memory)
        values |= {name: getattr(fit, name) for name in _FIT}
    return values | {
        _COUNT: torch.full_like(unknown, len(log_weights)),
        _SEARCHED: torch.full_like(unknown, found.guide_terms is None).bool(),
    }


def _better(normal: Estimate, log_weights: Tensor, terms: Tensor) -> tuple[Estimate, Tensor]:
    """Take log P(X) and its weights from the normal's draws or from the guide's, by datapoint.

    Each estimate exceeds log P(X) by b nats with a probability of at most exp(-b), so that the
    higher is the better one where their difference is no chance. Where it may be chance, the one
    with more effective draws is.
    """
    value, error = log_mean_exp(terms)
    difference = value - normal.value
    certain = difference.abs() > _ERRORS * normal.error.hypot(error)
    fuller = _effective_draws(terms) > _effective_draws(log_weights)
    of_guide = torch.where(certain, difference > 0, fuller)
    combined = Estimate(
        torch.where(of_guide, value, normal.value),
        torch.where(of_guide, 0.0, normal.influence),
        torch.where(of_guide, error.square(), normal.variance),
    )
    return combined, torch.where(of_guide, terms, log_weights)


def _effective_draws(log_weights: Tensor) -> Tensor:
    return 1 / log_weights.softmax(0).square().sum(0)


def finished(parts: list[dict[str, Tensor]], tolerance: float, errors: float) -> dict[str, Tensor]:
    """Join what was reduced, and add what all datapoints tell together.

    Args:
        parts: of each chunk of the data.
        tolerance: the largest rise of the ELBO, in nats, that can be ignored.
        errors: standard errors within which a rise may be chance.

    Raises:
        Unsupported: if a result is not finite; the message names it.
    """
    values = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    counts, searched = values.pop(_COUNT), values.pop(_SEARCHED)
    _refuse_nan(values, searched)
    values["converged"] = torch.stack(
        [
            (values[name].abs() <= tolerance + errors * values[f"{name}_error"])
            | (values[name].isnan() & ~searched)
            for name in RISES
            if name in values
        ]
    ).all(0)
    return _with_tails(values, counts)


def _with_tails(values: dict[str, Tensor], counts: Tensor) -> dict[str, Tensor]:
    """Replace the fits of the tails by what they say of log P(X), and add it to its errors."""
    unknown = torch.full_like(counts, math.nan)
    tails = {name: unknown.clone() for name in ("pareto_k", "pooled_k", "unseen")}
    tails["trusted"] = torch.zeros_like(unknown).bool()
    if _FIT[0] not in values:
        return values | tails
    fit = {name: values.pop(name) for name in _FIT}
    for count in counts.unique():  # fewer where the guide's own family was not searched
        here = counts == count
        together = tail_terms(TailFit(*(fit[name][here] for name in _FIT)), int(count))
        for name, term in together.items():
            tails[name][here] = term.to(tails[name].dtype)
    for name in OF_WEIGHTS:
        if name in values:
            values[f"{name}_error"] = values[f"{name}_error"].hypot(tails["unseen"])
    return values | tails


def _refuse_nan(values: dict[str, Tensor], searched: Tensor) -> None:
    for name in _FINITE:
        if name not in values:
            continue
        lost = ~values[name].isfinite()
        if name == "optimal_elbo":
            lost = lost & searched
        if bool(lost.any()):
            raise Unsupported(
                f"{name} is not finite for {int(lost.sum())} of {len(lost)} datapoints; the "
                "pair's distributions are not finite there, or learning_rate is too large"
            )
