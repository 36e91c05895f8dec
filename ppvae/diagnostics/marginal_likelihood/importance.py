"""Importance weights of a pair, and formula (2) measured by them."""

import math
from collections.abc import Iterable

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from ppvae.diagnostics.marginal_likelihood.pareto import (
    FEWEST_DRAWS,
    tail_length,
    tail_shape,
    threshold,
)
from ppvae.diagnostics.progress import tqdm_options
from ppvae.engine import (
    MEMORY,
    Data,
    Draws,
    Pair,
    as_batch,
    collected,
    draw_chunks,
    isolated,
    refuse_degenerate,
    refuse_unnormalized,
)


def weights(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.DataArray:
    """Return the log importance weights log p(x, z) - log q(z|x) of draws z ~ q(z|x).

    Factors of `plate(size, subsample_size)` and of `poutine.scale` stay out of them, masks count,
    and discrete latents that only the model has are summed out. The pair is evaluated in
    evaluation mode and left as it was.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        Log weights in nats, dims `(draw, data)`.

    Raises:
        ValueError: if the data or the pair's structure do not allow it; the message says why.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> weights(pair, digits.test[:5], draws=10).sizes
        Frozen({'draw': 10, 'data': 5})
    """
    batch = as_batch(data, pair, split="test")
    columns = []
    bar = tqdm(total=len(batch[0]), unit=" datapoints", **tqdm_options(progress))
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory):
            refuse_degenerate(structure)
            columns += collected(parts, draws, lambda part: part.log_weights)
            bar.update(len(chunk[0]))
    values = _finite(torch.cat(columns, dim=1))
    return xr.DataArray(values, dims=("draw", "data"), name="log_weight", attrs={"units": "nats"})


def evidence(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    compile: bool = True,
    progress: bool | None = None,
) -> xr.Dataset:
    """Measure every term of formula (2) per datapoint, with its Monte Carlo standard error.

        log P(X) - KL[Q(z|X) || P(z|X)]  =  E_Q[log P(X|z)] - KL[Q(z|X) || P(z)]

    With log weights l_k = log p(x, z_k) - log q(z_k|x) of K draws z_k ~ q(z|x):

    - `elbo` = mean of l_k;
    - `kl` = KL[Q(z|X) || P(z)], in closed form where there is one, else the mean of
      log q(z_k|x) - log p(z_k);
    - `reconstruction` = E_Q[log P(X|z)] = elbo + kl. With a closed-form KL the draws' own KL
      serves as control variate, and the error vanishes with that of the ELBO;
    - `log_evidence` = log P(X) = log mean exp(l_k), by importance sampling (Burda, Grosse and
      Salakhutdinov, "Importance Weighted Autoencoders", 2016). Its expectation lies below
      log P(X), by about half its squared standard error;
    - `posterior_kl` = KL[Q(z|X) || P(z|X)] = log_evidence - elbo, never negative, its standard
      error from the same draws, their covariance included;
    - `effective_sample_size` = (sum w)^2 / sum w^2 of the weights w = exp(l_k), between 1 and K.
      Where it is small, `log_evidence` and `posterior_kl` are too low;
    - `pareto_k`, the shape of the tail of the weights, as `pareto_k` measures it: where it exceeds
      the attribute `threshold`, more draws would say something else. NaN with fewer than 21 draws.

    Both sides of the formula agree to rounding. Standard errors have the suffix `_error`; with one
    draw they are NaN. `summarize` gives means over the data.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        compile: score the draws by compiled code once there are enough of them to pay for it,
            half a minute's; they are the same draws, and their scores equal to rounding.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)`, in nats.

    Raises:
        ValueError: if the data or the pair's structure do not allow it, or the pair is a
            pseudo-likelihood and so has no log P(X); the message says why.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> terms = evidence(pairs.assemble(digits, latent=2), digits.test[:5], draws=10)
        >>> bool((terms.log_evidence >= terms.elbo).all())
        True
    """
    batch = as_batch(data, pair, split="test")
    measured: list[dict[str, Tensor]] = []
    bar = tqdm(total=len(batch[0]), unit=" datapoints", **tqdm_options(progress))
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory, compile=compile):
            refuse_degenerate(structure)
            refuse_unnormalized(structure)
            measured.append(_terms(parts, draws, memory))
            bar.update(len(chunk[0]))
    variables = {
        name: ("data", _finite(torch.cat([chunk[name] for chunk in measured]), name))
        for name in measured[0]
    }
    attrs = {"units": "nats", "draws": draws, "threshold": threshold(max(draws, FEWEST_DRAWS))}
    return xr.Dataset(variables, attrs=attrs)


def pareto_k(
    pair: Pair,
    data: Data,
    *,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Fit a generalized Pareto distribution to the largest importance weights of each datapoint.

        p(w - u | w > u) = (1 + k (w - u) / sigma)^(-1/k - 1) / sigma,    w = p(x, z) / q(z|x)

    The weights have 1/k finite moments. Averages over them, such as `evidence` takes, can be
    trusted while k stays below the threshold min(1 - 1/log10(S), 0.7) of S draws; above it the
    guide misses a part of the posterior that matters (Vehtari, Simpson, Gelman, Yao and Gabry,
    "Pareto Smoothed Importance Sampling", 2024). The fit is the quasi-Bayesian one of Zhang and
    Stephens, "A New and Efficient Estimation Method for the Generalized Pareto Distribution",
    2009, drawn to 0.5 with the weight of ten draws as Vehtari et al. do.

    - `pareto_k`: the estimate of k; -inf where all weights are equal, or all in the tail, which
      then is bounded;
    - `effective_sample_size` = (sum w)^2 / sum w^2 as in `evidence`, between 1 and S.

    Args:
        pair: any pair whose sites stand inside `pyro.plate("data", ...)`.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint, at least 21.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)` and attributes `draws` and `threshold`.

    Raises:
        ValueError: with too few draws, or if the data or the pair's structure do not allow it.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> tails = pareto_k(pairs.assemble(digits, latent=2), digits.test[:5], draws=100)
        >>> tails.sizes, round(tails.attrs["threshold"], 3)
        (Frozen({'data': 5}), 0.5)
    """
    tail_length(draws)
    batch = as_batch(data, pair, split="test")
    shapes, sizes = [], []
    bar = tqdm(total=len(batch[0]), unit=" datapoints", **tqdm_options(progress))
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory):
            refuse_degenerate(structure)
            (log_weights,) = collected(parts, draws, lambda part: part.log_weights)
            shapes.append(tail_shape(log_weights, memory=memory))
            relative = log_weights.double().softmax(0)
            sizes.append(1 / relative.square().sum(0))
            bar.update(len(chunk[0]))
    return xr.Dataset(
        {
            "pareto_k": ("data", torch.cat(shapes).cpu().numpy()),
            "effective_sample_size": ("data", torch.cat(sizes).cpu().numpy()),
        },
        attrs={"draws": draws, "threshold": threshold(draws)},
    )


def summarize(evidence: xr.Dataset) -> xr.Dataset:
    """Average what was measured per datapoint over the data, with two standard errors.

    - `standard_error`: of the mean over datapoints drawn anew from the same source, draws
      included: the sample standard deviation of the per-datapoint values over sqrt(data). It is
      the one for a statement about unseen data.
    - `monte_carlo_error`: of the mean over just these datapoints, from the draws alone. It is the
      one that more draws reduce.

    Args:
        evidence: what `evidence` or `gaps` returned; each of its variables that has a companion of
            the suffix `_error` is a term.

    Returns:
        `mean`, `standard_error` and `monte_carlo_error` in nats per datapoint, dims `(term,)`;
        errors that one datapoint or one draw cannot tell are NaN.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> terms = evidence(pairs.assemble(digits, latent=2), digits.test[:5], draws=10)
        >>> summarize(terms).sel(term="elbo")["mean"].shape
        ()
    """
    terms = [str(name) for name in evidence if f"{name}_error" in evidence]
    values = np.stack([evidence[name].values for name in terms])
    errors = np.stack([evidence[f"{name}_error"].values for name in terms])
    n = values.shape[1]
    spread = values.std(1, ddof=1) if n > 1 else np.full(len(terms), math.nan)
    return xr.Dataset(
        {
            "mean": ("term", values.mean(1)),
            "standard_error": ("term", spread / math.sqrt(n)),
            "monte_carlo_error": ("term", np.sqrt(np.square(errors).sum(1)) / n),
        },
        coords={"term": terms},
        attrs={"units": "nats per datapoint", "data": n, "draws": evidence.attrs["draws"]},
    )


def _terms(parts: Iterable[Draws], draws: int, memory: int) -> dict[str, Tensor]:
    """Reduce the draws of some datapoints to the terms of formula (2), `(data,)` each."""
    rounded, kl_draws = collected(
        parts,
        draws,
        lambda part: part.log_weights,
        lambda part: part.log_posterior - part.log_prior if part.kl is None else part.kl,
    )
    log_weights, kl_draws = rounded.double(), kl_draws.double()
    count = len(log_weights)
    few = torch.full_like(log_weights[0], math.nan)
    elbo = log_weights.mean(0)
    log_evidence = log_weights.logsumexp(0) - math.log(count)
    # Relative weights w_k / mean(w): their deviations from 1 are what each draw does to
    # log_evidence to first order, as l_k - mean(l) is what it does to the ELBO.
    relative = (log_weights - log_evidence).exp()
    kl = kl_draws.mean(0)
    return {
        "reconstruction": elbo + kl,
        "kl": kl,
        "elbo": elbo,
        "log_evidence": log_evidence,
        "posterior_kl": log_evidence - elbo,
        "pareto_k": tail_shape(rounded, memory=memory) if count >= FEWEST_DRAWS else few,
        "effective_sample_size": count / relative.square().mean(0),
        "reconstruction_error": _error(log_weights + kl_draws),
        "kl_error": _error(kl_draws),
        "elbo_error": _error(log_weights),
        "log_evidence_error": _error(relative),
        "posterior_kl_error": _error(relative - log_weights),
    }


def _error(values: Tensor) -> Tensor:
    """Return the standard error of the mean over draws, `(data,)`."""
    count = len(values)
    if count < 2:
        return torch.full_like(values[0], math.nan)
    return values.std(0) / math.sqrt(count)


def _finite(values: Tensor, name: str = "log_weight") -> NDArray[np.float64]:
    # Errors of a single draw are NaN by definition; a NaN elsewhere is a broken pair.
    if not name.endswith(("_error", "pareto_k")) and bool(torch.isnan(values).any()):
        raise ValueError(
            f"{name} is NaN for {int(torch.isnan(values).sum())} of {values.numel()} values; "
            "the pair's weights or distributions are not finite"
        )
    array: NDArray[np.float64] = values.detach().cpu().numpy()
    return array
