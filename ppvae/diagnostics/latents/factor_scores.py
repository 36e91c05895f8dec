"""Whether latent dimensions are the factors that made the data."""

import numpy as np
import xarray as xr
from tqdm import tqdm

from ppvae.data import Dataset
from ppvae.diagnostics.latents.codes import Numbers, checked_dataset, codes
from ppvae.diagnostics.latents.importance_matrix import scores
from ppvae.diagnostics.latents.information_gap import information_gap
from ppvae.diagnostics.latents.predictability_gap import predictability_gap
from ppvae.diagnostics.progress import tqdm_options
from ppvae.engine import MEMORY, Pair, isolated

_SCORES = ("mig", "sap", "disentanglement", "completeness", "informativeness")
_Part = tuple[Numbers, Numbers]


def disentanglement(
    pair: Pair,
    data: Dataset,
    *,
    bins: int = 20,
    rows: int = 2000,
    resamples: int = 20,
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure how the posterior means line up with the known factors of a dataset.

    - `mig`, the mutual information gap of Chen, Li, Grosse and Duvenaud, 2018: see
      `information_gap`, which counts in bins of equally many datapoints;
    - `sap`, the separated attribute predictability of Kumar, Sattigeri and Balakrishnan, 2018: see
      `predictability_gap`, by squared correlation;
    - `disentanglement`, `completeness`, `informativeness` of Eastwood and Williams, 2018: see
      `importance_matrix.scores`, by random forests.

    All are computed from training data, informativeness on test data, and are 1 at best; the first
    four are near 0 for noise, informativeness at 0 or a little below. All but the last depend on
    the axes of the latent space, which a rotation mixes. Standard errors are standard deviations
    over bootstrap resamples of the datapoints (Efron and Tibshirani, "An Introduction to the
    Bootstrap", 1993): of unseen data, the trained pair taken as given.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: a dataset with at least two known factors, such as `ppvae.data.factors()`.
        bins: number of bins of `mig`.
        rows: how many datapoints of each split to use at most, drawn at random.
        resamples: number of bootstrap resamples.
        draws: number of draws per datapoint where the posterior mean is not known.
        seed: of draws, choice of rows, forests and resamples.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        `value` and `standard_error`, dims `(score,)`.

    Raises:
        TypeError: if `data` is no dataset.
        ValueError: with fewer than two factors, a factor that is constant, or a number that is too
            small.

    Example:
        >>> from ppvae import data, pairs
        >>> squares = data.factors(200)
        >>> pair = pairs.assemble(squares, latent=4)
        >>> disentanglement(pair, squares, resamples=2).score.values.tolist()
        ['mig', 'sap', 'disentanglement', 'completeness', 'informativeness']
    """
    data = checked_dataset("disentanglement", data)
    known = len(data.factor_names)
    if known < 2:
        raise ValueError(
            f"disentanglement needs a dataset with at least 2 known factors, got {known} in "
            f"{data.name!r}; give them by `ppvae.data.split(..., factors={{name: values}})`"
        )
    _check(bins=(bins, 2), rows=(rows, 10), resamples=(resamples, 2), draws=(draws, 2))
    generator = np.random.default_rng(seed)
    with isolated(pair, seed):
        train, test = (
            _part(data, split, codes(pair, data, split, draws, memory), rows, generator)
            for split in ("train", "test")
        )
    value = _measure(train, test, bins, seed)
    resampled = [
        _measure(_resampled(train, generator), _resampled(test, generator), bins, seed)
        for _ in tqdm(range(resamples), unit=" resamples", **tqdm_options(progress))
    ]
    return xr.Dataset(
        {
            "value": ("score", np.array(value)),
            "standard_error": ("score", np.std(resampled, axis=0, ddof=1)),
        },
        {"score": list(_SCORES)},
        {"factors": list(data.factor_names), "train": len(train[0]), "test": len(test[0])},
    )


def _check(**numbers: tuple[int, int]) -> None:
    for argument, (value, least) in numbers.items():
        if value < least:
            raise ValueError(f"disentanglement needs {argument} >= {least}, got {value}")


def _measure(train: _Part, test: _Part, bins: int, seed: int) -> tuple[float, ...]:
    gaps = information_gap(*train, bins), predictability_gap(*train)
    return (*gaps, *scores(train, test, seed))


def _part(
    data: Dataset, split: str, values: Numbers, rows: int, generator: np.random.Generator
) -> _Part:
    """Pair codes with factors, for some rows at random."""
    factors = data.factors[split].double().cpu().numpy()
    order = generator.permutation(len(factors))[:rows]
    for name, column in zip(data.factor_names, factors[order].T, strict=True):
        if column.min() == column.max():
            raise ValueError(
                f"factor {name!r} of dataset {data.name!r} is constant in the {split!r} split, so "
                "nothing can be said of it; leave it out"
            )
    return values[order], factors[order]


def _resampled(part: _Part, generator: np.random.Generator) -> _Part:
    index = generator.integers(len(part[0]), size=len(part[0]))
    return part[0][index], part[1][index]
