"""Lower bounds of log P(X) of one pair side by side."""

import math

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.marginal_likelihood.annealing import ais
from ppvae.diagnostics.marginal_likelihood.pareto import smoothed, tail_length
from ppvae.engine import (
    MEMORY,
    Data,
    Pair,
    as_batch,
    collected,
    draw_chunks,
    isolated,
    refuse_degenerate,
)

_BOUNDS = ("elbo", "importance", "pareto_smoothed", "ais")
_ERRORS = 4  # standard errors that chance explains in one of 30,000 datapoints
_ROUNDING = 1e-4  # nats by which sums of hundreds of float32 may differ, whatever the draws


def bound_table(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
    temperatures: int = 1000,
    chains: int = 16,
    from_guide: bool = True,
    leapfrogs: int = 10,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure log P(X) of the same data from below in four ways.

    With log weights l_k = log p(x, z_k) - log q(z_k|x) of draws z_k ~ q(z|x):

    - `elbo`: mean of l_k;
    - `importance`: log mean exp(l_k), importance sampling as in `evidence`;
    - `pareto_smoothed`: the same, the largest weights replaced by the order statistics of a Pareto
      distribution fitted to them (Vehtari, Simpson, Gelman, Yao and Gabry, "Pareto Smoothed
      Importance Sampling", 2024). Less variable, but not a lower bound in expectation;
    - `ais`: annealed importance sampling, see `ais`.

    In expectation the first is below the second; the higher of importance sampling and annealing
    is the better. Annealing that ends more than four standard errors below importance sampling
    has not converged: it needs more temperatures or another start. The other way round says
    nothing of the sort, since importance sampling has no tuning to fail, and may just be poor.

    Args:
        pair: any pair whose latents are continuous and stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws of the first three, at least 21.
        temperatures: of annealing.
        chains: of annealing.
        from_guide: whether annealing starts from the guide, else from the prior.
        leapfrogs: leapfrog steps of a trajectory of annealing.
        seed: of draws and chains.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset in nats.

        - `log_evidence` and its Monte Carlo standard error `log_evidence_error`, dims
          `(bound, data)`. Errors of weights follow the delta method, and are too small where a few
          weights dominate;
        - `mean` over these data and `mean_error`, from the errors of each, dims `(bound,)`;
        - `converged`, dims `(data,)`: whether annealing ended not more than four standard errors
          of the difference below importance sampling. The two use independent draws, so its
          square is the sum of theirs;
        - `mean_converged`: the same of the mean, the standard error that of the mean of the paired
          differences, from their spread over data: True where a single datapoint has none.

    Raises:
        ValueError: as `ais` does, with fewer than 21 draws, or if the guide has no density.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> table = bound_table(pair, digits.test[:3], draws=50, temperatures=5, chains=4)
        >>> table.log_evidence.sel(bound="elbo").sizes
        Frozen({'data': 3})
    """
    tail_length(draws)
    annealed = ais(
        pair,
        data,
        temperatures=temperatures,
        chains=chains,
        from_guide=from_guide,
        leapfrogs=leapfrogs,
        seed=seed,
        memory=memory,
        progress=progress,
    )
    batch = as_batch(data, pair, split="test")
    columns = []
    with isolated(pair, seed):
        for _, structure, parts in draw_chunks(pair, batch, draws, memory):
            refuse_degenerate(structure)
            (log_weights,) = collected(parts, draws, lambda part: part.log_weights)
            columns.append(_weighted(log_weights, memory))
    values, errors = torch.cat(columns, dim=-1).cpu().numpy()
    values = np.concatenate([values, annealed.log_evidence.values[None]])
    errors = np.concatenate([errors, annealed.log_evidence_error.values[None]])
    rows = values.shape[1]
    difference = values[3] - values[1]
    spread = difference.std(ddof=1) / math.sqrt(rows) if rows > 1 else math.nan
    return xr.Dataset(
        {
            "log_evidence": (("bound", "data"), values),
            "log_evidence_error": (("bound", "data"), errors),
            "mean": ("bound", values.mean(1)),
            "mean_error": ("bound", np.sqrt(np.square(errors).sum(1)) / rows),
            "converged": ("data", _not_below(difference, np.hypot(errors[3], errors[1]))),
            "mean_converged": ((), _not_below(difference.mean(), np.asarray(spread))),
        },
        coords={"bound": list(_BOUNDS)},
        attrs={
            "units": "nats",
            "draws": draws,
            "temperatures": temperatures,
            "chains": chains,
        },
    )


def _weighted(log_weights: Tensor, memory: int) -> Tensor:
    """Return the bounds of weights and their standard errors, `(2, bound, data)`."""
    raw, count = log_weights.double(), len(log_weights)
    smooth = smoothed(log_weights, memory=memory)
    values, errors = [raw.mean(0)], [raw.std(0) / math.sqrt(count)]
    for weights in (raw, smooth):
        log_mean = weights.logsumexp(0) - math.log(count)
        values.append(log_mean)
        errors.append((weights - log_mean).exp().std(0) / math.sqrt(count))
    return torch.stack([torch.stack(values), torch.stack(errors)])


def _not_below(difference: NDArray[np.float64], error: NDArray[np.float64]) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = difference < -_ERRORS * error - _ROUNDING
    return ~below
