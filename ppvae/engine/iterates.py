"""R-hat, effective sample size and Monte Carlo error of chains or of an optimizer's iterates.

Iterates of stochastic optimization with a constant step size become a stationary Markov chain, so
that diagnostics of Markov chain Monte Carlo apply to them (Dhaka, Catalina, Andersen,
Magnusson, Huggins and Vehtari, "Robust, Accurate Stochastic Optimization for Variational
Inference", 2020). Every function takes `(chain, draw, *parameter)` and returns `(*parameter)`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

FEWEST = 4
"""The least number of draws of a chain: with fewer its halves have no variance."""

_COLUMNS = 2**14  # parameters at once, so that memory stays near that of the iterates


def split_rhat(iterates: Tensor) -> Tensor:
    """Return the potential scale reduction of chains, each cut into halves.

        R-hat = sqrt((B / W + n - 1) / n)

    with n draws a half, B the variance of the halves' means times n, and W the mean of their
    variances (Gelman et al., "Bayesian Data Analysis", 2013, section 11.4; Dhaka et al., 2020,
    use it for iterates, of a single chain too). It is 1 for stationary iterates and larger for
    iterates that still drift.

    Args:
        iterates: `(chain, draw, *parameter)`, at least 4 draws, of which the middle one of an odd
            number is left out.

    Returns:
        R-hat in float64, `(*parameter)`; NaN where all draws are equal.

    Raises:
        ValueError: with too few draws, or dimensions.

    Example:
        >>> drifting = torch.arange(100.0).reshape(1, 100, 1)
        >>> bool(split_rhat(drifting) > 2)
        True
    """
    return _by_column(_rhats, iterates)


def effective_sample_size(iterates: Tensor) -> Tensor:
    """Return how many independent draws would estimate the mean as precisely as these.

        N / (1 + 2 sum_t rho_t)

    of N draws of autocorrelation rho_t at lag t, estimated over halves of chains, and cut off by
    Geyer's initial monotone sequence (Vehtari, Gelman, Simpson, Carpenter and Bürkner,
    "Rank-Normalization, Folding, and Localization: An Improved R-hat for Assessing Convergence of
    MCMC", 2021, without the ranks); at most N log10(N), and N where all draws are equal.

    Args:
        iterates: `(chain, draw, *parameter)`, at least 4 draws.

    Raises:
        ValueError: with too few draws, or dimensions.

    Example:
        >>> still = torch.ones(2, 50, 3)
        >>> effective_sample_size(still)
        tensor([100., 100., 100.], dtype=torch.float64)
    """
    return _by_column(_sizes, iterates)


def monte_carlo_error(iterates: Tensor) -> Tensor:
    """Return the standard error of the mean of all draws, correlation included.

        sd / sqrt(effective_sample_size)

    Args:
        iterates: `(chain, draw, *parameter)`, at least 4 draws.

    Returns:
        The error in float64 and in the parameters' units, `(*parameter)`.

    Raises:
        ValueError: with too few draws, or dimensions.

    Example:
        >>> bool(monte_carlo_error(torch.ones(1, 8, 2)).eq(0).all())
        True
    """
    return _by_column(_errors, iterates)


def _by_column(function: Callable[[Tensor], Tensor], iterates: Tensor) -> Tensor:
    if iterates.dim() < 2 or iterates.shape[1] < FEWEST or len(iterates) < 1:
        raise ValueError(
            f"iterates must have shape (chain, draw, *parameter) with at least {FEWEST} draws; "
            f"got {tuple(iterates.shape)}"
        )
    columns = iterates.detach().reshape(*iterates.shape[:2], -1).split(_COLUMNS, dim=2)
    measured = torch.cat([function(part.double()) for part in columns])
    return measured.reshape(iterates.shape[2:])


def _halves(iterates: Tensor) -> Tensor:
    half = iterates.shape[1] // 2
    return torch.cat([iterates[:, :half], iterates[:, -half:]])


def _rhats(iterates: Tensor) -> Tensor:
    halves = _halves(iterates)
    draws = halves.shape[1]
    between = draws * halves.mean(1).var(0)
    return ((between / halves.var(1).mean(0) + draws - 1) / draws).sqrt()


def _errors(iterates: Tensor) -> Tensor:
    return iterates.flatten(0, 1).std(0) / _sizes(iterates).sqrt()


def _sizes(iterates: Tensor) -> Tensor:
    halves = _halves(iterates)
    chains, draws, _ = halves.shape
    total = chains * draws
    centered = halves - halves.mean(1, keepdim=True)
    spectrum = torch.fft.rfft(centered, n=2 * draws, dim=1)
    covariance = torch.fft.irfft(spectrum * spectrum.conj(), n=2 * draws, dim=1)[:, :draws] / draws
    within = covariance[:, 0].mean(0) * draws / (draws - 1)
    spread = within * (draws - 1) / draws + halves.mean(1).var(0)
    rho = 1 - (within - covariance.mean(0)) / spread
    rho[0] = 1

    last = max(0, (draws - 3) // 2)  # the last pair of lags with enough draws
    even, odd = rho[0 : 2 * last + 1 : 2], rho[1 : 2 * last + 2 : 2]
    sums = even + odd
    reached = (sums > 0).cummin(0).values  # all pairs up to this one are positive
    count = reached[:-1].sum(0)  # the pair that ends the sequence
    index = torch.arange(last + 1, device=rho.device)[:, None]
    monotone = torch.where(index < count, sums.cummin(0).values, 0.0).sum(0)
    final, final_sum = even.gather(0, count[None])[0], sums.gather(0, count[None])[0]
    ending = torch.where((final > 0) | (final_sum >= 0), final, 0.0)
    time = (2 * monotone + ending - 1).clamp(min=1 / math.log10(total))
    still = halves.amax((0, 1)) - halves.amin((0, 1)) < 1e-15
    return torch.where(still, float(total), total / time)
