"""Which pair predicts held-out data best, by how much, and how surely."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from ppvae.diagnostics.comparison.measures import check_same, measure_of
from ppvae.diagnostics.comparison.stacking import stacking_weights
from ppvae.diagnostics.marginal_likelihood import evidence, tail_length, threshold
from ppvae.diagnostics.progress import tqdm_options
from ppvae.engine import MEMORY, Batch, Data, Pair, as_batch

_MANY = 0.05  # the share of datapoints with a bad tail from which a model is flagged

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

    A name may stand for several fits, such as restarts from different seeds: then its score is
    that of one of its fits on average, and the spread between them is told apart from that
    between datapoints. Of every model, in nats per datapoint:

    - `mean`: of log P(x) over datapoints and fits; with `data_error`, its standard error over
      datapoints drawn anew, the fits being these; `fit_error`, over fits made anew, the
      datapoints being these (NaN with one fit); `monte_carlo_error`, from the draws alone;
    - `difference`: `mean` less that of the best, 0 for the best itself; with
      `difference_data_error`, over datapoints of the differences of the same datapoint, and
      `difference_fit_error`, over fits of both, taken to be independent. The best of many is in
      part best by chance: a difference of less than two errors decides nothing;
    - `stacking_weight`: of the average of predictive densities that scores best on these data
      (Yao, Vehtari, Simpson and Gelman, "Using Stacking to Average Bayesian Predictive
      Distributions", 2018); every fit is a density of its own there, and a model has the sum of
      its fits' weights. `stacking_gap` and `stacking_score` are attributes;
    - `unreliable_share`: the share of datapoints and fits whose Pareto k exceeds `threshold`, an
      attribute; `unreliable`, whether it is above 0.05: that model's log P(X) is likely too low.

    Pointwise, `log_evidence` is `(model, data)`, the mean over fits. Over `fit`, all fits of all
    models in order, stand `fit_mean`, `fit_stacking_weight` and `fit_unreliable_share`; the
    coordinate `fit_model` names their model.

    Args:
        pairs: pairs by name, or lists of fits by name.
        data: `(data, *event)`, held out from the fits; of a dataset, the test split.
        draws: number of draws per datapoint, at least 21.
        seed: of the draws of the first fit; the next has the next, so that errors are independent.
        memory: bound in bytes on the intermediate tensors.
        log_evidence: another estimator, `log_evidence(pair, batch)` returns log P(x) in nats,
            `(data,)`; then `monte_carlo_error` and what rests on Pareto k are NaN, and no model
            is flagged. By default `evidence` with these draws.
        progress: show a progress bar over the fits; only on a terminal, unless given.

    Raises:
        ValueError: without pairs, if their log P(X) are not densities of the same numbers, or
            as `evidence` does.

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
        raise ValueError("pairs is empty; expected at least one pair by its name")
    owners = [name for name, members in fits.items() for _ in members]
    every = [pair for members in fits.values() for pair in members]
    batches = [as_batch(data, pair, split="test") for pair in every]
    check_same(
        {
            f"{name} (fit {index})": measure_of(pair, batch, seed)
            for index, (name, pair, batch) in enumerate(zip(owners, every, batches, strict=True))
        }
    )

    def measured(number: int, pair: Pair, batch: Batch) -> tuple[Values, Values, Values]:
        if log_evidence is None:
            terms = evidence(pair, batch, draws=draws, seed=seed + number, memory=memory)
            parts = (terms.log_evidence, terms.log_evidence_error, terms.pareto_k)
            return parts[0].values, parts[1].values, parts[2].values
        values = np.asarray(log_evidence(pair, batch), dtype=np.float64)
        if values.shape != (len(batch[0]),) or np.isnan(values).any():
            raise ValueError(
                f"log_evidence must return numbers of shape ({len(batch[0])},), one a datapoint; "
                f"got shape {values.shape} with {int(np.isnan(values).sum())} NaN"
            )
        unknown = np.full_like(values, math.nan)
        return values, unknown, unknown

    bar = tqdm(zip(every, batches, strict=True), total=len(every), **tqdm_options(progress))
    columns = zip(*(measured(number, *fit) for number, fit in enumerate(bar)), strict=True)
    return _summary(owners, *(np.stack(column) for column in columns), draws=draws)


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
    belongs = np.array([[owner == name for owner in owners] for name in names])
    average = belongs / belongs.sum(1, keepdims=True)  # (model, fit)
    pointwise = average @ values
    fit_means = values.mean(1)
    means = average @ fit_means
    best = int(means.argmax())
    fit_error = np.array([_error(fit_means[rows]) for rows in belongs])
    others = np.arange(len(names)) != best
    known = ~np.isnan(tails)
    exceeds = np.where(known, tails > threshold(draws), np.nan).mean(1)
    stacking = stacking_weights(values.T)
    unreliable = average @ exceeds
    monte_carlo = np.sqrt(np.square(average) @ np.square(errors).sum(1)) / values.shape[1]
    return xr.Dataset(
        {
            "mean": ("model", means),
            "data_error": ("model", _error(pointwise)),
            "fit_error": ("model", fit_error),
            "monte_carlo_error": ("model", monte_carlo),
            "difference": ("model", means - means[best]),
            "difference_data_error": ("model", _error(pointwise - pointwise[best])),
            "difference_fit_error": ("model", others * np.hypot(fit_error, fit_error[best])),
            "stacking_weight": ("model", belongs @ stacking.weights),
            "unreliable_share": ("model", unreliable),
            "unreliable": ("model", unreliable > _MANY),
            "log_evidence": (("model", "data"), pointwise),
            "fit_mean": ("fit", fit_means),
            "fit_stacking_weight": ("fit", stacking.weights),
            "fit_unreliable_share": ("fit", exceeds),
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


def _error(values: Values) -> Any:
    """Return the standard error of the mean over the last axis, NaN of a single value."""
    count = values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], math.nan)
    return values.std(-1, ddof=1) / math.sqrt(count)
