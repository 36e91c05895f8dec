"""Do data look like replicates from the model, in statistics of the user's choice?"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ppvae.diagnostics.failed_rows import of_the_others
from ppvae.diagnostics.model_fit.replicates import Replicates, observations, replicate
from ppvae.diagnostics.names import names_of
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import MEMORY, Batch, Data, Pair, adapted, isolated, progress_bar, seeds

Statistic: TypeAlias = Callable[..., Tensor]
"""Called with the values of the observed sites, `(data, *event)` each in the model's order."""


def prior_predictive_check(
    pair: Pair,
    data: Data,
    *,
    statistics: Mapping[str, Statistic],
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Compare statistics of the data with those of data sets z ~ p(z), x ~ p(x|z) of the model.

        p = P(T(x_rep) > T(x)),    ties broken at random

    For held-out data of the right model p is uniform on (0, 1), exactly (Box, "Sampling and Bayes'
    Inference in Scientific Modeling and Robustness", 1980). Near 0 the statistic of the data is
    larger than under the model, near 1 smaller. For the data that the model was fitted to, p is
    closer to the middle. Entries that a mask hides are the same in data and replicates: the number
    that stands for a feature in all datapoints where it is hidden, or 0 if they differ.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        statistics: by name; each a function of the observed sites' values on the whole data set
            that returns a scalar or an array, such as one number for each feature.
        draws: number of replicated data sets.
        seed: of the draws, and of how ties break.
        memory: bound in bytes on the intermediate tensors, without those of the statistics.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        For each statistic NAME, `NAME` of the replicates, dims `(draw, NAME_dim_0, ...)`,
        `NAME_observed` and `NAME_p_value`, dims `(NAME_dim_0, ...)`.

    Raises:
        ValueError: without statistics, or if a statistic is NaN.
        Unsupported: if the pair's structure does not allow it, or it cannot be drawn from.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> ink = {"ink": lambda x: x.mean(), "pixels": lambda x: x.mean(0)}
        >>> pair = pairs.assemble(digits, latent=2)
        >>> check = prior_predictive_check(pair, digits.test[:20], statistics=ink, draws=20)
        >>> check.pixels.shape, check.ink_p_value.shape
        ((20, 64), ())
    """
    arguments = (pair, data, statistics, draws, seed, memory, progress)
    return _predictive_check(lambda drawn: drawn.simulated, *arguments, prior=True)


def posterior_predictive_check(
    pair: Pair,
    data: Data,
    *,
    statistics: Mapping[str, Statistic],
    draws: int = 100,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Compare statistics of the data with those of replicates, z ~ q(z|x), x ~ p(x|z).

        p = P(T(x_rep) > T(x)),    ties broken at random

    (Gelman, Meng and Stern, "Posterior Predictive Assessment of Model Fitness via Realized
    Discrepancies", 1996.) The latents depend on the data that the replicates are compared with, so
    p is conservative: under the right model it concentrates around 1/2, and a p that is not small
    says little. Extreme values show what the decoder cannot reproduce even so. Arguments and
    result are those of `prior_predictive_check`, whose p-values are uniform.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        statistics: functions of the observed sites' values, by name.
        draws: number of replicated data sets.
        seed: of the draws, and of how ties break.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        ValueError: without statistics, or if a statistic is NaN.
        Unsupported: if the pair's structure does not allow it, or it cannot be drawn from.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ink = {"ink": lambda x: x.mean()}
        >>> check = posterior_predictive_check(pair, digits.test[:20], statistics=ink, draws=20)
        >>> check.ink.dims
        ('draw',)
    """
    arguments = (pair, data, statistics, draws, seed, memory, progress)
    return _predictive_check(lambda drawn: drawn.predicted, *arguments, prior=False)


def _predictive_check(
    chosen: Callable[[Replicates], dict[str, Tensor]],
    pair: Pair,
    data: Data,
    statistics: Mapping[str, Statistic],
    draws: int,
    seed: int,
    memory: int,
    progress: bool | None,
    *,
    prior: bool,
) -> xr.Dataset:
    """Compute statistics and p-values for the replicates that `chosen` picks."""
    if not statistics:
        raise ValueError("statistics is empty; expected at least one function by its name")
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed)

    def measured(rows: Batch) -> tuple[dict[str, Any], dict[str, list[Any]]]:
        replicated: dict[str, list[Any]] = {name: [] for name in statistics}
        with isolated(pair, seed), progress_bar(total=draws, progress=progress) as bar:
            values, _ = observations(pair, rows)
            sites = values.values()
            observed = {name: _as_array(function(*sites)) for name, function in statistics.items()}
            for block in replicate(pair, rows, draws, memory, seeds(seed), prior=prior):
                for data_set in zip(*chosen(block).values(), strict=True):
                    for name, function in statistics.items():
                        replicated[name].append(_as_array(function(*data_set)))
                    bar.update()
        return observed, replicated

    observed, replicated = of_the_others(pair, batch, measured, names)
    generator = np.random.default_rng(seed)
    variables = {}
    for name, value in observed.items():
        dims = tuple(f"{name}_dim_{axis}" for axis in range(value.ndim))
        others = np.stack(replicated[name])
        variables[name] = (("draw", *dims), others)
        variables[f"{name}_observed"] = (dims, value)
        variables[f"{name}_p_value"] = (dims, upper_p_value(value, others, generator))
    # Such as one number for each feature.
    return names.on(xr.Dataset(variables, attrs={"draws": draws}), statistics)


def _as_array(value: Any) -> Any:
    return torch.as_tensor(value).detach().double().cpu().numpy()
