"""Several lower bounds of log P(X) of one pair."""

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.failed_rows import sound
from ppvae.diagnostics.marginal_likelihood.annealing import accepted, ais
from ppvae.diagnostics.marginal_likelihood.averages import Numbers, error_of_mean
from ppvae.diagnostics.marginal_likelihood.pareto import (
    joined_fits,
    smoothed,
    tail_fit,
    tail_length,
    threshold,
)
from ppvae.diagnostics.marginal_likelihood.pooled_tails import tail_terms
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    adapted,
    collected,
    draw_chunks,
    isolated,
    log_mean_exp,
    mean_error,
    progress_bar,
    refuse_degenerate,
)

_BOUNDS = ("elbo", "importance", "pareto_smoothed", "ais")
_OF_WEIGHTS = ("importance", "pareto_smoothed")
_ERRORS = 4  # standard errors; by chance alone one of 30,000 datapoints exceeds them
_ROUNDING = 16  # units of the last place by which two sums of the same terms may differ


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
    has not converged, nor has annealing whose trajectories are mostly rejected: it needs more
    temperatures or another start. If importance sampling ends below annealing, that is no sign of
    failed convergence: it may simply be inefficient.

    Args:
        pair: any pair whose latents are continuous.
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
          `(bound, data)`. Those of the weighted ones include `unseen`, as in `evidence`;
        - `mean` over these data and `mean_error`, the Monte Carlo error of `summarize`, dims
          `(bound,)`;
        - `pareto_k`, `pooled_k`, `trusted` and `unseen` of the weights, dims `(data,)`, as of
          `evidence`;
        - `acceptance` of annealing, dims `(data,)`, see `ais`;
        - `converged`, dims `(data,)`: False where annealing ended more than four standard errors
          of the difference below importance sampling, or its acceptance is below 0.5. The two
          use independent draws, so the squares of their errors add up;
        - `mean_converged`: the same for the mean, with the standard error of the mean of the
          paired differences, from their spread over data, and for the acceptance of every
          datapoint. A single datapoint has no spread, and only its acceptance counts.

    Raises:
        Unsupported: as `ais` does, or if the guide has no density.
        ValueError: as `ais` does, or with fewer than 21 draws.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> x = digits.test[:3]
        >>> table = bound_table(pair, x, draws=50, temperatures=2, chains=4, leapfrogs=1)
        >>> table.log_evidence.sel(bound="elbo").sizes
        Frozen({'data': 3})
    """
    tail_length(draws)
    names = names_of(data, "test")
    pair, whole = adapted(pair, data, split="test", seed=seed)
    kept = sound(pair, whole, names)
    annealed = ais(
        pair,
        kept.batch,
        temperatures=temperatures,
        chains=chains,
        from_guide=from_guide,
        leapfrogs=leapfrogs,
        seed=seed,
        memory=memory,
        progress=progress,
    )
    weighted, tails = _weighted(pair, kept.batch, draws, seed, memory, progress)
    ended = np.stack([annealed.log_evidence.values, annealed.log_evidence_error.values])
    values, errors = np.concatenate([weighted, ended[:, None]], axis=1)
    first = kept.batch[0]
    precision = torch.finfo(first.dtype if first.is_floating_point() else torch.float32).eps
    table = _table(values, errors, tails, annealed.acceptance.values, precision)
    return kept.spread(table).assign_attrs(
        units="nats",
        draws=draws,
        temperatures=temperatures,
        chains=chains,
        threshold=threshold(draws),
    )


def _weighted(
    pair: Pair, batch: Batch, draws: int, seed: int, memory: int, progress: bool | None
) -> tuple[Numbers, dict[str, NDArray[Any]]]:
    """Return bounds by weighted draws and errors, `(2, bound, data)`, and the weights' tails."""
    columns, fits = [], []
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory):
            refuse_degenerate(structure)
            (log_weights,) = collected(parts, draws, lambda part: part.log_weights)
            columns.append(_bounds(log_weights, memory))
            fits.append(tail_fit(log_weights, memory=memory))
            bar.update(len(chunk[0]))
    tails = tail_terms(joined_fits(fits), draws)
    weighted: Numbers = torch.cat(columns, dim=-1).cpu().numpy()
    return weighted, {name: value.cpu().numpy() for name, value in tails.items()}


def _bounds(log_weights: Tensor, memory: int) -> Tensor:
    """Return the bounds of weights and their standard errors, `(2, bound, data)`."""
    raw, smooth = log_weights.double(), smoothed(log_weights, memory=memory)
    bounds = [(raw.mean(0), mean_error(raw)), log_mean_exp(raw), log_mean_exp(smooth)]
    values, errors = zip(*bounds, strict=True)
    return torch.stack([torch.stack(values), torch.stack(errors)])


def _table(
    values: Numbers,
    drawn: Numbers,
    tails: dict[str, NDArray[Any]],
    acceptance: Numbers,
    precision: float,
) -> xr.Dataset:
    """Return bounds and errors, `(bound, data)`, their means, and whether annealing converged."""
    rows = values.shape[1]
    difference = values[3] - values[1]
    spread = difference.std(ddof=1) / math.sqrt(rows) if rows > 1 else math.nan
    rounding = _ROUNDING * precision * (1 + np.abs(values[1]))
    # What the weights leave unseen would be above importance sampling: no excuse for annealing.
    level = ~(difference < -_ERRORS * np.hypot(drawn[3], drawn[1]) - rounding)
    level_mean = not difference.mean() < -_ERRORS * spread - rounding.mean()
    moving = accepted(acceptance)
    of_weights, unseen = np.isin(_BOUNDS, _OF_WEIGHTS), tails["unseen"]
    errors = np.where(of_weights[:, None], np.hypot(drawn, unseen), drawn)
    return xr.Dataset(
        {
            "log_evidence": (("bound", "data"), values),
            "log_evidence_error": (("bound", "data"), errors),
            "mean": ("bound", values.mean(1)),
            "mean_error": ("bound", error_of_mean(errors, unseen, of_weights)),
            "acceptance": ("data", acceptance),
            **{name: ("data", term) for name, term in tails.items()},
            "converged": ("data", level & moving),
            "mean_converged": ((), bool(level_mean and moving.all())),
        },
        coords={"bound": list(_BOUNDS)},
    )
