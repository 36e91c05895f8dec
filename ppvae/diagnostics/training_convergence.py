"""Have parameters converged, and is their gradient more than noise?"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pyro.infer import ELBO, Trace_ELBO
from torch import Tensor

from ppvae.engine import (
    Adapted,
    Data,
    Pair,
    Unsupported,
    arguments_of,
    batch_of,
    collect,
    effective_sample_size,
    isolated,
    monte_carlo_error,
    progress_bar,
    split_rhat,
)


def convergence(iterates: Mapping[str, Tensor]) -> xr.Dataset:
    """Measure the convergence of every parameter tensor by that of its worst element.

    - `rhat`: the largest split R-hat, near 1 after convergence; NaN where no element changes;
    - `effective_sample_size`: the smallest;
    - `monte_carlo_error`: the largest standard error of an average over the iterates, in the
      parameter's units.

    (Dhaka, Catalina, Andersen, Magnusson, Huggins and Vehtari, "Robust, Accurate Stochastic
    Optimization for Variational Inference", 2020.) `ppvae.engine.iterates` has the formulas; the
    callback `inference.Converged` stops training by them. With many elements the worst exceeds any
    bound by chance.

    Args:
        iterates: `(chain, draw, *parameter)` by name, at least 4 draws; each chain is a training.

    Returns:
        A dataset with dims `(parameter,)`.

    Raises:
        ValueError: if `iterates` is empty or has too few draws.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> kept, digits = [], data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> keep = lambda training: kept.append(training.snapshot())
        >>> fit = ppvae.fit(pair, digits, epochs=6, callbacks=[keep])
        >>> chain = {name: torch.stack([k[name] for k in kept])[None] for name in kept[0]}
        >>> bool((convergence(chain).rhat > 1.1).any())
        True
    """
    if not iterates:
        raise ValueError("iterates is empty; expected tensors (chain, draw, *parameter) by name")
    worst = {
        "rhat": [_largest(split_rhat(values)) for values in iterates.values()],
        "effective_sample_size": [
            float(effective_sample_size(values).min()) for values in iterates.values()
        ],
        "monte_carlo_error": [
            float(monte_carlo_error(values).max()) for values in iterates.values()
        ],
    }
    return xr.Dataset(
        {name: ("parameter", values) for name, values in worst.items()},
        coords={"parameter": list(iterates)},
    )


def gradient_signal(
    pair: Pair,
    data: Data,
    *,
    draws: int = 100,
    objective: ELBO | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure the signal-to-noise ratio of the objective's gradient at each parameter tensor.

        |E g| / sqrt(E |g - E g|^2)

    over the random numbers of one evaluation on all of `data`, as one minibatch, in evaluation
    mode. Near an optimum the ratio falls to 0. Where it is small far from an optimum, updates of
    the parameter are mostly noise (Rainforth, Kosiorek, Le, Maddison, Igl, Wood and Teh, "Tighter
    Variational Bounds Are Not Necessarily Better", 2018).

    - `signal`: |E g|, its square estimated without bias, and 0 where that is negative;
    - `noise`: sqrt(E |g - E g|^2);
    - `signal_to_noise`: their ratio: infinity without noise, NaN where the gradient is always 0.
      A signal below about `noise` / sqrt(`draws`) is not detected.

    Args:
        pair: any pair that `fit` trains.
        data: `(data, *event)`; of a dataset, the training split.
        draws: number of gradients, at least 2.
        objective: a `pyro.infer.ELBO` with `differentiable_loss`; `Trace_ELBO()` unless given.
        seed: of the draws.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(parameter,)`, in nats per unit of the unconstrained parameter, summed
        over the datapoints.

    Raises:
        ValueError: with fewer than 2 draws, or if the objective has no `differentiable_loss`.
        Unsupported: if the pair has no parameters to train.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> measured = gradient_signal(pair, digits.train[:50], draws=10)
        >>> bool((measured.noise > 0).all())
        True
    """
    if draws < 2:
        raise ValueError(f"draws must be at least 2, got {draws}")
    loss_of = getattr(objective or Trace_ELBO(), "differentiable_loss", None)
    if loss_of is None:
        raise ValueError(
            f"objective {type(objective).__name__} has no differentiable_loss; pass another ELBO"
        )
    batch, form = batch_of(pair, arguments_of(data, split="train", pair=pair))
    run = pair if form.plain else Adapted(pair, form)
    with isolated(pair, seed), torch.enable_grad():

        def evaluate() -> Tensor:
            loss: Tensor = loss_of(run.model, run.guide, *batch)
            return loss

        parameters = collect(evaluate)
        if not parameters:
            raise Unsupported("the pair announces no parameters, so there is no gradient")
        mean_squared, variance = _gradient_moments(
            evaluate, list(parameters.values()), draws, progress
        )
    signal = np.sqrt(np.maximum(mean_squared - variance / draws, 0))
    noise = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = signal / noise
    return xr.Dataset(
        {
            "signal": ("parameter", signal),
            "noise": ("parameter", noise),
            "signal_to_noise": ("parameter", ratio),
        },
        coords={"parameter": list(parameters)},
        attrs={"units": "nats per unit of the parameter", "draws": draws},
    )


def _gradient_moments(
    evaluate: Callable[[], Tensor], leaves: Sequence[Tensor], draws: int, progress: bool | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squared norm of the mean gradient and the gradient's variance, by parameter.

    The variance is summed over the elements of a parameter; Welford's updates need no memory of
    single gradients.
    """
    means = [torch.zeros_like(leaf, dtype=torch.float64) for leaf in leaves]
    squares = [0.0] * len(leaves)
    for count in progress_bar(range(1, draws + 1), progress=progress):
        gradients = torch.autograd.grad(evaluate(), leaves, allow_unused=True)
        for index, gradient in enumerate(gradients):
            if gradient is None:
                continue
            difference = gradient.double() - means[index]
            means[index] = means[index] + difference / count
            squares[index] += float((difference * (gradient.double() - means[index])).sum())
    norms = np.array([float(mean.square().sum()) for mean in means])
    return norms, np.array(squares) / (draws - 1)


def _largest(values: Tensor) -> float:
    """Return the largest number that is not NaN, or NaN where all are."""
    moving = torch.where(values.isnan(), -torch.inf, values).max()
    return float(torch.where(values.isnan().all(), torch.nan, moving))
