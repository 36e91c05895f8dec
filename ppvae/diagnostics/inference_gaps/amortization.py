"""What of the gap between log P(X) and the ELBO is whose fault."""

import math

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from tqdm import tqdm

from ppvae.diagnostics.marginal_likelihood import FEWEST_DRAWS, tail_shape, threshold
from ppvae.diagnostics.progress import tqdm_options
from ppvae.engine import Data, Pair, as_batch, isolated, seeds
from ppvae.refinement import Mixture, Search, search_chunk, search_chunks

_MEMORY = 128 * 2**20  # several dozen images a step, so that each operation's overhead is small
_RISES = ("rise", "normal_rise")
_Z = 2.0  # standard errors that a rise must exceed to be one: a false alarm in 44


def gaps(
    pair: Pair,
    data: Data,
    *,
    log_evidence: xr.Dataset | None = None,
    normal: bool = True,
    draws: int = 500,
    steps: int = 400,
    particles: int = 8,
    learning_rate: float = 0.1,
    tolerance: float = 0.05,
    seed: int = 0,
    memory: int = _MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Split log P(X) - ELBO[q] into what the guide's family costs and what its network costs.

        log P(X) - ELBO[q]  =  (log P(X) - ELBO[q*])  +  (ELBO[q*] - ELBO[q])
             total                 approximation             amortization

    q is the guide's posterior, and q* the best of its family for each datapoint, the parameters
    of its distributions set free and the ELBO maximized over them (Cremer, Li and Duvenaud,
    "Inference Suboptimality in Variational Autoencoders", 2018). The model stays as it is. A
    better encoder would gain the amortization gap; only another family can gain the approximation
    gap. Part of it is `correlation` = ELBO[n*] - ELBO[q*], with n* the best normal
    distribution of all latents jointly, on unconstrained values, with every correlation. It is
    what correlations explain if the guide is normal and factorized; against another family, such
    as Laplace, it is what both changes gain together, and may be negative.

    Call it on training and on held-out data. A generative model that overfits raises the
    total on held-out data; an encoder that overfits shows as an amortization gap that is larger
    on held-out data than on the training data.

    Each ELBO is the mean of log p(x, z) - log q(z) over fresh draws, none of which was
    optimized on. log P(X) is estimated by importance sampling from the mixture of q, q* and n*, as
    many draws from each, weighted by the density of the mixture (Veach and Guibas, "Optimally
    Combining Sampling Techniques for Monte Carlo Rendering", 1995): P(X) without bias, and no
    choice of a best proposal that would add one. Its logarithm is too low by half its squared
    standard error; where `pareto_k` exceeds the attribute `threshold`, it may be too low by more,
    and with it `total` and `approximation`. Give a better one as `log_evidence`.

    q* and n* are found by Adam in four stages, of which the last lets the step size fall. No
    search is sure to end at the best: up to their errors, `amortization` is at least what it was
    found to be, and `approximation` at most. `rise` is what the last stage gained over the one
    before, at the same random numbers, and `normal_rise` that of n*. `converged` says that neither
    is further from 0 than `tolerance` and two of its standard errors. Where it is false, more
    steps are wanted; where it is true, a climb slower than that may still go on, as tiny steps
    make it.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`, its guide a product
            of distributions that depend on the data alone.
        data: `(data, *event)`; of a dataset, the test split.
        log_evidence: log P(X) by another method: a dataset with `log_evidence` and
            `log_evidence_error` in nats, dims `(data,)`, such as `evidence` returns; its errors
            are taken as independent of those here.
        normal: search for n* too, which takes half of the time.
        draws: number of draws per datapoint from each of q, q* and n* to evaluate them.
        steps: of the optimization.
        particles: draws per datapoint and step.
        learning_rate: the first step size, in units of the width of q.
        tolerance: rise of the ELBO, in nats, that does not matter.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)`, in nats: `total`, `approximation`, `amortization` and
        `correlation`; `log_evidence`, `elbo`, `optimal_elbo` of q* and `normal_elbo` of n*; `rise`
        and `normal_rise`, each with its Monte Carlo standard error under the suffix `_error`;
        `converged` and `pareto_k` (NaN if log P(X) was given). `summarize` averages them.

    Raises:
        ValueError: if the data or the pair's structure do not allow it; a latent site is discrete,
            masked, depends on another site's draw, or has a distribution whose parameters cannot
            be set free, by name; or the pair is a pseudo-likelihood and so has no log P(X).

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> found = gaps(pair, digits.test[:5], steps=40)
        >>> bool(abs(found.total - found.approximation - found.amortization).max() < 1e-6)
        True
        >>> on_training = gaps(pair, digits.train[:5], steps=40)
        >>> overfit = float(found.amortization.mean() - on_training.amortization.mean())
    """
    search = Search(normal, draws, steps, particles, learning_rate, memory)
    if not tolerance >= 0:
        raise ValueError(f"tolerance must be at least 0 nats, got {tolerance}")
    batch = as_batch(data, pair, split="test")
    rows, done = len(batch[0]), 0
    given = None if log_evidence is None else _given(log_evidence, batch[0])
    found: list[dict[str, Tensor]] = []
    with (
        isolated(pair, seed),
        tqdm(total=rows, unit=" datapoints", **tqdm_options(progress)) as bar,
    ):
        apart = seeds(seed)
        for chunk, structure, together in search_chunks(search, pair, batch):
            mixture, rises = search_chunk(search, pair, chunk, structure, together, apart)
            here = len(chunk[0])
            known = None if given is None else given[:, done : done + here]
            found.append(_terms(mixture, rises, known, memory))
            done += here
            bar.update(here)
    values = {name: torch.cat([part[name] for part in found]) for name in found[0]}
    _refuse_nan(values)
    values["converged"] = torch.stack(
        [
            values[name].abs() <= tolerance + _Z * values[f"{name}_error"]
            for name in _RISES
            if name in values
        ]
    ).all(0)
    return xr.Dataset(
        {name: ("data", value.cpu().numpy()) for name, value in values.items()},
        attrs={
            "units": "nats",
            "draws": draws,
            "steps": steps,
            "tolerance": tolerance,
            "threshold": threshold(max((2 + normal) * draws, FEWEST_DRAWS)),
        },
    )


def _terms(
    mixture: Mixture, rises: list[Tensor], known: Tensor | None, memory: int
) -> dict[str, Tensor]:
    """Reduce the draws of some datapoints to the gaps, `(data,)` each."""
    log_weights = mixture.log_weights().flatten(0, 1)
    tail = torch.full_like(log_weights[0], math.nan)
    if known is not None:
        log_evidence = mixture.given(*known)
    else:
        log_evidence = mixture.log_evidence()
        if len(log_weights) >= FEWEST_DRAWS:
            tail = tail_shape(log_weights, memory=memory)
    elbo, optimal, *normal = (mixture.elbo(index) for index in range(len(mixture.log_joint)))
    estimates = {
        "total": log_evidence - elbo,
        "approximation": log_evidence - optimal,
        "amortization": optimal - elbo,
        "log_evidence": log_evidence,
        "elbo": elbo,
        "optimal_elbo": optimal,
    }
    for best in normal:
        estimates |= {"correlation": best - optimal, "normal_elbo": best}
    values = {name: estimate.value for name, estimate in estimates.items()}
    values |= {f"{name}_error": estimate.error for name, estimate in estimates.items()}
    for name, rise in zip(_RISES, rises, strict=False):
        values |= {name: rise.mean(0), f"{name}_error": rise.std(0) / math.sqrt(len(rise))}
    return values | {"pareto_k": tail}


def _given(log_evidence: xr.Dataset, like: Tensor) -> Tensor:
    """Return log P(X) from elsewhere and its standard error, `(2, data)`."""
    names = ("log_evidence", "log_evidence_error")
    for name in names:
        if name not in log_evidence:
            raise ValueError(
                f"log_evidence must hold {' and '.join(names)}, as `evidence` returns them; got "
                f"{', '.join(map(str, log_evidence)) or 'nothing'}"
            )
        if log_evidence[name].dims != ("data",) or log_evidence.sizes["data"] != len(like):
            raise ValueError(
                f"log_evidence must have one value for each of {len(like)} datapoints, got "
                f"{name!r} of sizes {dict(log_evidence[name].sizes)}"
            )
        if not bool(np.isfinite(log_evidence[name]).all()):
            raise ValueError(f"log_evidence holds a {name!r} that is NaN or infinite")
    values = np.stack([log_evidence[name].values for name in names])
    return torch.as_tensor(values, device=like.device).double()


def _refuse_nan(values: dict[str, Tensor]) -> None:
    for name in ("log_evidence", "elbo", "optimal_elbo", "normal_elbo"):
        if name in values and not bool(values[name].isfinite().all()):
            bad = int((~values[name].isfinite()).sum())
            raise ValueError(
                f"{name} is not finite for {bad} of {len(values[name])} datapoints; the pair's "
                "distributions are not finite there, or a smaller learning_rate is wanted"
            )
