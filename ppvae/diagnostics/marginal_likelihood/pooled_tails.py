"""The shapes of the tails of all datapoints' weights, estimated together."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.marginal_likelihood.pareto import TailFit, tail_length, threshold

_PRIOR, _CENTER = 10, 0.5  # `tail_shape` shrinks towards 0.5 with the weight of ten draws
_SMALLEST = -0.9  # the sampling error of a maximum likelihood estimate of k is not known below
_POINTS, _ITERATIONS = 400, 100

Numbers = NDArray[np.float64]


def pooled_shapes(shapes: Numbers, length: int) -> Numbers:
    """Shrink estimates of k towards each other as far as their own errors explain their spread.

    An estimate from the n largest weights has the standard error (1 + k) / sqrt(n), so that
    log(1 + k) has 1 / sqrt(n) for every k. Where this explains the spread over datapoints, all
    have their mean. Elsewhere the distribution of the true log(1 + k) over datapoints is estimated
    by maximum likelihood without assumptions on its form (Kiefer and Wolfowitz, "Consistency of
    the Maximum Likelihood Estimator in the Presence of Infinitely Many Incidental Parameters",
    1956; Koenker and Mizera, "Convex Optimization, Shape Constraints, Compound Decisions, and
    Empirical Bayes Rules", 2014), and each k replaced by its posterior mean under it: a few
    datapoints with much heavier tails keep theirs. The shrinkage towards 0.5 of the single
    estimates is reduced by the number of datapoints with indistinguishable estimates. A single
    datapoint keeps its estimate.

    Args:
        shapes: estimates of k from `tail_shape`, `(data,)`; -inf, and NaN where k is not known.
        length: n, the number of weights that each was fitted to.

    Returns:
        k, `(data,)`; -inf and NaN are kept.

    Example:
        >>> shapes = np.random.default_rng(0).normal(0.6, 0.15, size=500)
        >>> bool(shapes.std() > 0.14), bool(np.ptp(pooled_shapes(shapes, 95)) < 1e-9)
        (True, True)
    """
    unshrunk = ((length + _PRIOR) * shapes - _PRIOR * _CENTER) / length
    known = unshrunk > _SMALLEST
    if known.sum() < 2:
        return shapes.copy()
    pooled, error = shapes.copy(), 1 / math.sqrt(length)
    mean = unshrunk[known].mean()
    if _of_one_law((unshrunk[known] - mean) / (error * (1 + mean)), length):
        count = known.sum() * length
        pooled[known] = (count * mean + _PRIOR * _CENTER) / (count + _PRIOR)
    else:
        pooled[known] = _posterior_means(np.log1p(unshrunk[known]), error, length)
    return pooled


def tail_terms(fit: TailFit, draws: int) -> dict[str, Tensor]:
    """Say what the tails of all datapoints' weights tell of log P(X), `(data,)` each.

    Args:
        fit: of the weights of each datapoint.
        draws: their number.

    Returns:
        `pareto_k`, `pooled_k`, `trusted` and `unseen`, as `evidence` explains them.
    """
    shapes = fit.shape.cpu().numpy()
    pooled = torch.as_tensor(pooled_shapes(shapes, tail_length(draws)), device=fit.shape.device)
    return {
        "pareto_k": fit.shape,
        "pooled_k": pooled,
        "trusted": pooled < threshold(draws),
        "unseen": fit.unseen(pooled, draws),
    }


def _of_one_law(deviations: Numbers, length: int) -> bool:
    """Tell whether deviations from a mean, in standard errors, are no larger than by chance.

    Standard errors of fits to few weights are a little larger than the formula says.
    """
    count = len(deviations)
    spread = np.square(deviations).sum() / (count - 1)
    farthest = np.abs(deviations).max()
    usual = spread < 1 + 3 * math.sqrt(2 / count) + 4 / length
    return bool(usual and farthest < math.sqrt(2 * math.log(count)) + 1.5)


def _posterior_means(values: Numbers, error: float, length: int) -> Numbers:
    """Return the posterior mean of each k, given log(1 + k) with an error."""
    low, high = values.min(), values.max()
    points = min(_POINTS, 2 + int((high - low) / (error / 5)))
    grid = np.linspace(low, high, points)
    step = max((high - low) / (points - 1), np.finfo(float).tiny)
    nearest = np.rint((values - low) / step).astype(np.int64).clip(0, points - 1)
    counts = np.bincount(nearest, minlength=points)
    squares = np.square((grid[:, None] - grid) / error)
    posterior = _normalized(-squares / 2)
    for _ in range(_ITERATIONS):
        mass = counts @ posterior / len(values)
        with np.errstate(divide="ignore"):
            posterior = _normalized(np.log(mass) - squares / 2)
    together = np.exp(-squares / 4) @ counts * length
    means = (together * (posterior @ np.expm1(grid)) + _PRIOR * _CENTER) / (together + _PRIOR)
    posterior_means: Numbers = np.interp(values, grid, means)
    return posterior_means


def _normalized(log_mass: Numbers) -> Numbers:
    normalized: Numbers = torch.as_tensor(log_mass).softmax(1).numpy()
    return normalized
