"""Whether data look like what the model makes, by statistics of the user's choice."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from ppvae.diagnostics.model_fit.replicates import Replicates, observations, replicate
from ppvae.diagnostics.progress import tqdm_options
from ppvae.diagnostics.rank_tests import upper_p_value
from ppvae.engine import MEMORY, Data, Pair, as_batch, isolated, seeds

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
    """Compare statistics of the data with those of the model's own data, z ~ p(z), x ~ p(x|z).

        p = P(T(x_rep) > T(x)),    ties broken at random

    For held-out data of a model that is right p is uniform on (0, 1), exactly (Box, "Sampling and
    Bayes' Inference in Scientific Modeling and Robustness", 1980). Near 0 the data have more of
    the statistic than the model, near 1 less. Of the data that the model was fitted to p is drawn
    to the middle. What a mask hides is given to all replicates as it is in the data.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        statistics: by name; a function of the observed sites' values, of the whole data at once,
            that returns a scalar or an array, such as one number a feature.
        draws: number of replicated data sets.
        seed: of the draws, and of how ties break.
        memory: bound in bytes on the intermediate tensors; a statistic's own are its caller's.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        Of each statistic NAME, `NAME` of the replicates, dims `(draw, NAME_dim_0, ...)`,
        `NAME_observed` and `NAME_p_value`, dims `(NAME_dim_0, ...)`.

    Raises:
        ValueError: without statistics, for NaN, or if data or pair do not allow it.

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
    return _check(lambda drawn: drawn.simulated, *arguments)


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
    Discrepancies", 1996.) The latents have seen the data that they are compared with, so p is
    conservative: under the right model it crowds around 1/2, and a p that is not small says
    little. Extreme values tell of what the decoder cannot reproduce even there. Arguments and
    result are those of `prior_predictive_check`, whose p-values are uniform.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        statistics: functions of the observed sites' values, by name.
        draws: number of replicated data sets.
        seed: of the draws, and of how ties break.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        ValueError: without statistics, for NaN, or if data or pair do not allow it.

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
    return _check(lambda drawn: drawn.predicted, *arguments)


def _check(
    chosen: Callable[[Replicates], dict[str, Tensor]],
    pair: Pair,
    data: Data,
    statistics: Mapping[str, Statistic],
    draws: int,
    seed: int,
    memory: int,
    progress: bool | None,
) -> xr.Dataset:
    if not statistics:
        raise ValueError("statistics is empty; expected at least one function by its name")
    batch = as_batch(data, pair, split="test")
    replicated: dict[str, list[Any]] = {name: [] for name in statistics}
    with isolated(pair, seed), tqdm(total=draws, **tqdm_options(progress)) as bar:
        values, _ = observations(pair, batch)
        seen = values.values()
        observed = {name: _number(function(*seen)) for name, function in statistics.items()}
        for block in replicate(pair, batch, draws, memory, seeds(seed)):
            for data_set in zip(*chosen(block).values(), strict=True):
                for name, function in statistics.items():
                    replicated[name].append(_number(function(*data_set)))
                bar.update()
    generator = np.random.default_rng(seed)
    variables = {}
    for name, value in observed.items():
        dims = tuple(f"{name}_dim_{axis}" for axis in range(value.ndim))
        others = np.stack(replicated[name])
        variables[name] = (("draw", *dims), others)
        variables[f"{name}_observed"] = (dims, value)
        variables[f"{name}_p_value"] = (dims, upper_p_value(value, others, generator))
    return xr.Dataset(variables, attrs={"draws": draws})


def _number(value: Any) -> Any:
    return torch.as_tensor(value).detach().double().cpu().numpy()
