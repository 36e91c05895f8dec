"""Weights for the best average of several predictive densities."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_STEPS = 500  # the most steps of Newton's method; a few dozen are usual


@dataclass(frozen=True)
class Stacking:
    """What `stacking_weights` finds.

    Args:
        weights: `(model,)`, on the simplex.
        log_score: mean log density of the average, in nats per datapoint.
        gap: a proven upper bound on the maximum minus `log_score`, in nats.
    """

    weights: NDArray[np.float64]
    log_score: float
    gap: float


def stacking_weights(log_densities: NDArray[Any], *, tolerance: float = 1e-9) -> Stacking:
    """Find the average of predictive densities that scores best on held-out data.

        maximize  f(w) = mean_n log sum_k w_k p_k(x_n)  over  w_k >= 0, sum_k w_k = 1

    (Yao, Vehtari, Simpson and Gelman, "Using Stacking to Average Bayesian Predictive
    Distributions", 2018.) f is concave. With g_k = mean_n p_k(x_n) / sum_j w_j p_j(x_n), Jensen's
    inequality gives f(v) - f(w) <= log max_k g_k for every v; this bound is returned as `gap`. The
    weights are found with a logarithmic barrier, mu sum_k log w_k, and Newton's method with step
    halving; at its optimum the bound is at most K mu for K densities.

    Args:
        log_densities: `(data, model)`, in nats; -inf where a density is 0.
        tolerance: the largest gap allowed, in nats per datapoint.

    Raises:
        ValueError: for another shape, NaN, +inf, a datapoint of density 0 under all, a tolerance
            that is not positive, or one that cannot be reached because of rounding.

    Example:
        >>> halves = np.log([[0.9, 0.1], [0.1, 0.9]])
        >>> [round(float(weight), 6) for weight in stacking_weights(halves).weights]
        [0.5, 0.5]
    """
    values = np.asarray(log_densities, dtype=np.float64)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"log_densities must have shape (data, model), at least 1 each; got {values.shape}"
        )
    if not tolerance > 0:
        raise ValueError(f"tolerance must be positive, got {tolerance}")
    largest = values.max(1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(largest[:, 0]))
    if len(bad):
        raise ValueError(
            f"log_densities of datapoint {bad[0]} hold a NaN or +inf, or are all -inf; expected "
            "finite values, or -inf for some"
        )
    densities = np.exp(values - largest)
    weights = _on_barriers(densities, tolerance)
    average = densities @ weights
    gap = math.log(max(1.0, float((densities / average[:, None]).mean(0).max())))
    if gap > tolerance:
        raise ValueError(
            f"the weights are known to {gap:.1g} nats, not to tolerance={tolerance:g}; allow more"
        )
    return Stacking(weights, float((np.log(average) + largest[:, 0]).mean()), gap)


def _on_barriers(densities: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Decrease the barrier to the tolerance; a term sum_k w_k replaces the constraint on the sum.

    Barrier and Newton steps, because a general optimizer stops where the objective no longer
    changes: scipy's SLSQP leaves a gap of up to 1e-7, above the default tolerance.
    """
    count = densities.shape[1]
    weights = np.full(count, 1 / count)
    last = min(0.1, tolerance / (2 * count))
    barriers = np.geomspace(0.1, last, 2 + math.ceil(math.log10(0.1 / last)))
    steps = 0
    for barrier in barriers:
        while steps < _STEPS:
            steps += 1
            step, decrement = _newton(densities, weights, barrier)
            if decrement < 1e-3 * barrier:
                weights = weights * (1 + step)  # the decrease is below the rounding of the loss
                break
            weights = _halved(densities, weights, barrier, step, decrement)
    normalized: NDArray[np.float64] = weights / weights.sum()
    return normalized


def _newton(
    densities: NDArray[np.float64], weights: NDArray[np.float64], barrier: float
) -> tuple[NDArray[np.float64], float]:
    """Return Newton's step relative to the weights, and twice the decrease it predicts."""
    ratios = densities * weights / (densities @ weights)[:, None]
    gradient = weights - ratios.mean(0) - barrier
    hessian = ratios.T @ ratios / len(ratios) + barrier * np.eye(len(weights))
    step = np.linalg.solve(hessian, -gradient)
    return step, float(-gradient @ step)


def _halved(
    densities: NDArray[np.float64],
    weights: NDArray[np.float64],
    barrier: float,
    step: NDArray[np.float64],
    decrement: float,
) -> NDArray[np.float64]:
    def loss(candidate: NDArray[np.float64]) -> float:
        score = np.log(densities @ candidate).mean() + barrier * np.log(candidate).sum()
        return float(candidate.sum() - score)

    size = min(1.0, 0.99 / max(1e-300, float(-step.min())))
    before = loss(weights)
    while size > 1e-12:
        candidate: NDArray[np.float64] = weights * (1 + size * step)
        if loss(candidate) <= before - 0.1 * size * decrement:
            return candidate
        size /= 2
    return weights
