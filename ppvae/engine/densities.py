"""Log densities of a pair and their averages over draws: said once, used by all."""

import math

import torch
from torch import Tensor


def log_mean_exp(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Return log mean exp over draws with its standard error by the delta method.

        value = log 1/K sum_k w_k,    error = sd(w_k / mean(w)) / sqrt(K)

    The error is too small where a few weights dominate.

    Args:
        log_weights: log w_k in nats, `(draw, *)`.

    Returns:
        Value and error in nats, `(*)` each; the error of a single draw is NaN.

    Example:
        >>> value, error = log_mean_exp(torch.zeros(4, 2))
        >>> value, error
        (tensor([0., 0.]), tensor([0., 0.]))
    """
    value = log_weights.logsumexp(0) - math.log(len(log_weights))
    return value, mean_error((log_weights - value).exp())


def mean_error(values: Tensor) -> Tensor:
    """Return the standard error of the mean over draws, `(*)`.

    Args:
        values: of independent draws, `(draw, *)`.

    Returns:
        The error in the values' units; NaN for a single draw.

    Example:
        >>> mean_error(torch.tensor([[1.0], [3.0]]))
        tensor([1.])
    """
    count = len(values)
    if count < 2:
        return torch.full_like(values[0], math.nan)
    return values.std(0) / math.sqrt(count)
