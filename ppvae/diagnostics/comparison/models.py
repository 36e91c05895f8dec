"""Which pair predicts held-out data best, by how much, and with which error."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray

from ppvae.diagnostics.comparison.dominating_measures import check_comparable, measure_of
from ppvae.diagnostics.comparison.stacking import stacking_weights
from ppvae.diagnostics.marginal_likelihood import evidence, tail_length, threshold
from ppvae.diagnostics.names import names_of
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Pair,
    Unsupported,
    adapted,
    parameters_in_store,
    progress_bar,
    rows_at,
    sound_rows,
)

_SIMULATIONS = 4000
_MANY = 0.05  # the share of datapoints with a heavy tail above which a model is flagged

Values: TypeAlias = NDArray[np.float64]
Estimator: TypeAlias = Callable[[Pair, Batch], Any]


def compare(
    pairs: Mapping[str, Pair | Sequence[Pair]],
    data: Data,
    *,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    log_evidence: Estimator | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Compare pairs by log P(X) of held-out data, paired over datapoints.

    A name may stand for several fits, such as restarts from different seeds: its score is then
    the average over the fits, and errors from fits and from datapoints are reported separately.
    For every model, in nats per datapoint:

    - `mean`: of log P(x) over datapoints and fits; with `data_error`, its standard error for new
      datapoints and these fits; `fit_error`, for new fits and these datapoints (NaN with one
      fit); `monte_carlo_error`, from the draws alone;
    - `difference`: `mean` minus that of the best model, 0 for the best itself; with
      `difference_data_error`, from the paired differences at each datapoint, and
      `difference_fit_error`, from the fits of both, assumed to be independent;
    - `difference_p_value`: the probability that the largest difference between any two of these
      models, in its own standard errors, is so large by chance if all are equally good. The best
      of many is partly best by chance, and this allows for their number: of ten equally good
      models, one lies two errors below the best in most data sets. For these fits and new
      datapoints; simulated from the covariance of the models' scores;
    - `stacking_weight`: the weight in the average of predictive densities that scores best on
      these data (Yao, Vehtari, Simpson and Gelman, "Using Stacking to Average Bayesian Predictive
      Distributions", 2018). Every fit is a separate density there; a model has the sum of its
      fits' weights. `stacking_gap` and `stacking_score` are attributes;
    - `unreliable_share`: the share of datapoints and fits whose pooled Pareto k, see `evidence`,
      exceeds `threshold`, an attribute; `unreliable`, whether it is above 0.05: that model's
      log P(X) is likely too low.

    Datapoints that some pair fails on are left out; a warning names them. `log_evidence` has dims
    `(model, data)` and is the mean over fits, NaN for these. `fit_mean`,
    `fit_stacking_weight` and `fit_unreliable_share` have the dim `fit`, all fits of all models in
    order; the coordinate `fit_model` names their model.

    Args:
        pairs: pairs by name, or lists of fits by name.
        data: `(data, *event)`, not used in the fits; of a dataset, the test split.
        draws: number of draws per datapoint, at least 21.
        seed: of the draws of the first fit; fit i has `seed` + i, so that errors are independent.
        memory: bound in bytes on the intermediate tensors.
        log_evidence: another estimator: `log_evidence(pair, batch)` returns log P(x) in nats,
            `(data,)`. Then `monte_carlo_error` and `unreliable_share` are NaN, and no model is
            flagged. By default `evidence` with these draws.
        progress: show progress bars, over the fits and over the datapoints of each; only on a
            terminal, unless given.

    Returns:
        A dataset of the variables above, with dims `(model,)` where no others are named.

    Raises:
        Unsupported: if the pairs' log P(X) are not densities of the same numbers, if two pairs
            share parameters in Pyro's store, if no datapoint is left, or as `evidence` does.
        ValueError: without pairs, or if a number, the data or what `log_evidence` returns is not
            valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> fits = {n: pairs.assemble(digits, latent=n) for n in (2, 4)}
        >>> result = compare({f"{n} latents": fits[n] for n in fits}, digits.test[:20], draws=50)
        >>> result.sizes["model"], float(result.difference.max()), bool(result.unreliable.all())
        (2, 0.0, True)
    """
    tail_length(draws)
    fits = {name: _fits(name, value) for name, value in pairs.items()}
    if not fits:
        raise ValueError("pairs is empty; expected at least one pair by name")
    owners = [name for name, members in fits.items() for _ in members]
    every = [pair for members in fits.values() for pair in members]
    names_of_rows = names_of(data, "test")
    both = [adapted(pair, data, split="test", seed=seed) for pair in every]
    own, every, batches = every, [pair for pair, _ in both], [batch for _, batch in both]
    names = [f"{name} (fit {index})" for index, name in enumerate(owners)]
    sound = batches
    try:
        measures = [measure_of(*fit, seed) for fit in zip(every, batches, strict=True)]
    except Unsupported:
        raise
    except Exception:  # of datapoints that a pair fails on, if it runs on the others
        sound = _sound(every, batches)
        measures = [measure_of(*fit, seed) for fit in zip(every, sound, strict=True)]
    check_comparable(dict(zip(names, measures, strict=True)))
    _check_store(owners, own, every, sound)

    def measured(number: int, pair: Pair, batch: Batch) -> tuple[Values, Values, Values]:
        if log_evidence is None:
            terms = evidence(
                pair, batch, draws=draws, seed=seed + number, memory=memory, progress=progress
            )
            parts = (terms.log_evidence, terms.log_evidence_error, terms.pooled_k)
            return parts[0].values, parts[1].values, parts[2].values
        values = np.asarray(log_evidence(own[number], batch), dtype=np.float64)
        if values.shape != (len(batch[0]),) or np.isnan(values).any():
            raise ValueError(
                f"log_evidence must return numbers of shape ({len(batch[0])},), one value each; "
                f"got shape {values.shape} with {int(np.isnan(values).sum())} NaN"
            )
        unknown = np.full_like(values, math.nan)
        return values, unknown, unknown

    bar = progress_bar(zip(every, batches, strict=True), total=len(every), progress=progress)
    columns = zip(*(measured(number, *fit) for number, fit in enumerate(bar)), strict=True)
    values, errors, tails = (np.stack(column) for column in columns)
    known = ~np.isnan(values).any(0)
    if not known.any():
        raise Unsupported("each datapoint is one that some pair fails on, so none is compared")
    parts = (part[:, known] for part in (values, errors, tails))
    table = _summary(owners, *parts, draws=draws)
    scores = np.full((len(fits), len(known)), math.nan)
    scores[:, known] = table.log_evidence.values
    table = table.drop_vars("log_evidence").assign(log_evidence=(("model", "data"), scores))
    return names_of_rows.on(table)


def _sound(pairs: Sequence[Pair], batches: Sequence[Batch]) -> list[Batch]:
    """Return the datapoints that all pairs can be run on; all, if there are none."""
    rows = np.arange(len(batches[0][0]))
    for pair, batch in zip(pairs, batches, strict=True):
        rows = np.intersect1d(rows, sound_rows(pair, batch).numpy())
    kept = torch.as_tensor(rows)
    return [rows_at(batch, kept) for batch in batches] if len(rows) else list(batches)


def _check_store(
    owners: list[str], own: list[Pair], every: list[Pair], batches: list[Batch]
) -> None:
    """Refuse different pairs that have parameters of Pyro's store in common."""
    seen: dict[int, tuple[str, Pair]] = {}
    for owner, pair, run, batch in zip(owners, own, every, batches, strict=True):
        for name, tensor in parameters_in_store(run, batch).items():
            other, first = seen.setdefault(id(tensor), (owner, pair))
            if first is not pair:
                raise Unsupported(
                    f"the pairs {other!r} and {owner!r} share the parameter {name!r} in Pyro's "
                    "store, so that each is what the last training of either left; give their "
                    "parameters different names, or make the pairs nn.Modules that hold them"
                )


def _fits(name: str, value: Pair | Sequence[Pair]) -> list[Pair]:
    members: list[Any] = list(value) if isinstance(value, list | tuple) else [value]
    if not members:
        raise ValueError(f"pairs[{name!r}] is an empty list; expected at least one fit")
    return members


def _summary(
    owners: list[str], values: Values, errors: Values, tails: Values, *, draws: int
) -> xr.Dataset:
    """Reduce `(fit, data)` scores, their Monte Carlo errors and tails to a table of models."""
    names = list(dict.fromkeys(owners))
    belongs = np.array([[owner == name for owner in owners] for name in names])  # (model, fit)
    average = belongs / belongs.sum(1, keepdims=True)
    best = int((average @ values.mean(1)).argmax())
    stacking = stacking_weights(values.T)
    return xr.Dataset(
        {
            **_means(belongs, average, values, errors),
            **_differences(belongs, average, values, best),
            **_reliability(average, tails, threshold(draws)),
            "stacking_weight": ("model", belongs @ stacking.weights),
            "fit_stacking_weight": ("fit", stacking.weights),
        },
        coords={"model": names, "fit_model": ("fit", owners)},
        attrs={
            "units": "nats per datapoint",
            "best": names[best],
            "draws": draws,
            "threshold": threshold(draws),
            "stacking_score": stacking.log_score,
            "stacking_gap": stacking.gap,
        },
    )


def _means(
    belongs: NDArray[np.bool_], average: Values, values: Values, errors: Values
) -> dict[str, Any]:
    pointwise, fit_means = average @ values, values.mean(1)
    # Errors may be infinite, and those of other models do not count.
    squares = np.zeros_like(average)
    np.multiply(np.square(average), np.square(errors).sum(1), out=squares, where=belongs)
    monte_carlo = np.sqrt(squares.sum(1)) / values.shape[1]
    return {
        "mean": ("model", average @ fit_means),
        "data_error": ("model", _error(pointwise)),
        "fit_error": ("model", _fit_error(belongs, fit_means)),
        "monte_carlo_error": ("model", monte_carlo),
        "log_evidence": (("model", "data"), pointwise),
        "fit_mean": ("fit", fit_means),
    }


def _differences(
    belongs: NDArray[np.bool_], average: Values, values: Values, best: int
) -> dict[str, Any]:
    pointwise, means = average @ values, average @ values.mean(1)
    fit_error = _fit_error(belongs, values.mean(1))
    others = np.arange(len(means)) != best
    errors = _error(pointwise - pointwise[best])
    return {
        "difference": ("model", means - means[best]),
        "difference_data_error": ("model", errors),
        "difference_p_value": ("model", _p_values(pointwise, means[best] - means, errors)),
        "difference_fit_error": ("model", others * np.hypot(fit_error, fit_error[best])),
    }


def _p_values(pointwise: Values, below: Values, errors: Values) -> Values:
    """Return P(the largest studentized difference of two models >= that to the best), `(model,)`.

    Args:
        pointwise: scores, `(model, data)`.
        below: how far each mean is below the best.
        errors: the standard errors of these differences.
    """
    count, rows = pointwise.shape
    if rows < 2 or not np.isfinite(pointwise).all():
        return np.full(count, math.nan)
    generator = np.random.default_rng(0)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(pointwise)) / rows)
    noise = generator.standard_normal((_SIMULATIONS, count)) * np.sqrt(np.maximum(values, 0))
    noise = noise @ vectors.T
    noise /= np.sqrt(generator.chisquare(rows - 1, (_SIMULATIONS, 1)) / (rows - 1))
    rounding = 1e-7 * _error(pointwise).max()  # two models of the same scores differ by so much
    largest = np.zeros(_SIMULATIONS)
    for model in range(count - 1):
        pairwise = _error(pointwise[model + 1 :] - pointwise[model])
        differences = np.abs(noise[:, model + 1 :] - noise[:, [model]])
        ratios = differences / np.where(pairwise > rounding, pairwise, math.inf)
        largest = np.maximum(largest, ratios.max(1))
    certain = np.where(below > rounding, math.inf, 0.0)
    measured = np.divide(below, errors, out=certain, where=errors > rounding)
    p_values: Values = (1 + (largest[:, None] >= measured).sum(0)) / (1 + _SIMULATIONS)
    return p_values


def _reliability(average: Values, tails: Values, largest: float) -> dict[str, Any]:
    exceeds = np.where(np.isnan(tails), np.nan, tails > largest).mean(1)
    unreliable = average @ exceeds
    return {
        "unreliable_share": ("model", unreliable),
        "unreliable": ("model", unreliable > _MANY),
        "fit_unreliable_share": ("fit", exceeds),
    }


def _fit_error(belongs: NDArray[np.bool_], fit_means: Values) -> Values:
    return np.array([_error(fit_means[rows]) for rows in belongs])


def _error(values: Values) -> Any:
    """Return the standard error of the mean over the last axis, NaN of a single value."""
    count = values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], math.nan)
    return values.std(-1, ddof=1) / math.sqrt(count)
