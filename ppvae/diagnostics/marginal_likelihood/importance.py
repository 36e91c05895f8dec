"""Importance weights of a pair, and the terms of formula (2) estimated from them."""

import math
from collections.abc import Iterable

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.failed_rows import by_row, warn_of_rows
from ppvae.diagnostics.given_posterior import GivenPosterior, check_given
from ppvae.diagnostics.marginal_likelihood.averages import OF_WEIGHTS
from ppvae.diagnostics.marginal_likelihood.pareto import (
    FEWEST_DRAWS,
    TailFit,
    tail_fit,
    threshold,
)
from ppvae.diagnostics.marginal_likelihood.pooled_tails import tail_terms
from ppvae.diagnostics.marginal_likelihood.posterior_terms import of_posterior
from ppvae.diagnostics.names import Names, names_of
from ppvae.engine import (
    MEMORY,
    Batch,
    Data,
    Draws,
    Pair,
    Unsupported,
    adapted,
    collected,
    draw_chunks,
    isolated,
    log_mean_exp,
    mean_error,
    progress_bar,
    refuse_degenerate,
    refuse_unnormalized,
)

_FIT = ("pareto_k", "log_cutoff", "log_median", "count")  # the fields of a `TailFit`


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

    Factors of `plate(size, subsample_size)` and of `poutine.scale` are left out, masks are
    applied. Discrete latents that only the model has, or that the guide enumerates, are summed
    out: p(x, z) = sum_k p(x, z, k) and q(z|x) = sum_k q(k|x) q(z|x, k), so that the mean of the
    log weights is at least the ELBO that keeps k. The pair runs in evaluation mode and is left as
    it was.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        draws: number of draws per datapoint.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        Log weights in nats, dims `(draw, data)`.

    Raises:
        Unsupported: if the pair's structure does not allow it, or all weights are NaN; the message
            says where. A datapoint that the pair fails on alone is NaN, and a warning names it.
        ValueError: if a number is below 1, or the data are not valid.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> weights(pair, digits.test[:5], draws=10).sizes
        Frozen({'draw': 10, 'data': 5})
    """
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed, in_chunks=True)
    return by_row(
        pair,
        batch,
        lambda rows: _weights(pair, rows, draws, seed, memory, progress, names),
        names,
    )


def _weights(
    pair: Pair,
    batch: Batch,
    draws: int,
    seed: int,
    memory: int,
    progress: bool | None,
    names: Names,
) -> xr.DataArray:
    columns = []
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory):
            refuse_degenerate(structure)
            columns += collected(parts, draws, lambda part: part.log_weights)
            bar.update(len(chunk[0]))
    values = _finite(torch.cat(columns, dim=1), names)
    return xr.DataArray(values, dims=("draw", "data"), name="log_weight", attrs={"units": "nats"})


def evidence(
    pair: Pair,
    data: Data,
    *,
    posterior: GivenPosterior | None = None,
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
      log P(X), and it exceeds log P(X) by b nats with a probability of at most exp(-b). How far it
      may lie below, `unseen` says;
    - `posterior_kl` = KL[Q(z|X) || P(z|X)] = log_evidence - elbo, never negative, its standard
      error from the same draws, their covariance included;
    - `effective_sample_size` = (sum w)^2 / sum w^2 of the weights w = exp(l_k), between 1 and K.
      Where it is small, `log_evidence` and `posterior_kl` are too low;
    - `pareto_k`, the shape of the tail of the weights, and `pooled_k`, the same estimated from all
      datapoints together, see the function `pareto_k`; NaN with fewer than 21 draws;
    - `trusted`: whether `pooled_k` is below the attribute `threshold`. Elsewhere log P(X) would
      change with more draws, and its error is a rough one at best;
    - `unseen`: how much of log P(X) may lie in weights larger than those drawn, by the tail of
      shape `pooled_k`; inf where that is 1 or more.

    Both sides of the formula agree to rounding. Standard errors have the suffix `_error`; with one
    draw they are NaN. Those of `log_evidence` and `posterior_kl` are the square root of the sum of
    squares of the delta method's and `unseen`, since the delta method knows only of the weights
    drawn. `summarize` gives means over the data.

    With `posterior`, what `refine` returns, everything that depends on the tails of weights is of
    its draws: `log_evidence`, `unseen`, `effective_sample_size`, `pareto_k`, `trusted`, and the
    attributes `draws` and `threshold`. `pooled_k` is then `pareto_k`, since levels differ in their
    tails. `elbo`, `kl` and `reconstruction` stay the guide's, of draws of their own, so that
    `posterior_kl` is how far the guide is from the posterior; it may be negative by its error.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        posterior: what `refine` returned for these data.
        draws: number of draws per datapoint.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        compile: score the draws by compiled code if that saves time, for computations of about
            half a minute and more. The draws are the same, their scores equal up to rounding.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)`, in nats.

    Raises:
        Unsupported: if the pair's structure does not allow it, the pair is a pseudo-likelihood
            and so has no log P(X), or a term is NaN for all datapoints; the message says where. A
            datapoint that the pair fails on alone is NaN, and a warning names it.
        ValueError: if a number is below 1, the data are not valid, or `posterior` is of others.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> terms = evidence(pairs.assemble(digits, latent=2), digits.test[:5], draws=10)
        >>> bool((terms.log_evidence >= terms.elbo).all())
        True
    """
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed, in_chunks=True)
    if posterior is not None:
        check_given(posterior, len(batch[0]), names)
    terms = by_row(
        pair,
        batch,
        lambda rows: _evidence(pair, rows, draws, seed, memory, compile, progress, names),
        names,
    )
    return terms if posterior is None else of_posterior(terms, posterior)


def _evidence(
    pair: Pair,
    batch: Batch,
    draws: int,
    seed: int,
    memory: int,
    compile: bool,
    progress: bool | None,
    names: Names,
) -> xr.Dataset:
    measured: list[dict[str, Tensor]] = []
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory, compile=compile):
            refuse_degenerate(structure)
            refuse_unnormalized(structure)
            measured.append(_terms(parts, draws, memory))
            bar.update(len(chunk[0]))
    columns = {name: torch.cat([chunk[name] for chunk in measured]) for name in measured[0]}
    columns = _with_tails(columns, draws)
    variables = {name: ("data", _finite(values, names, name)) for name, values in columns.items()}
    attrs = {"units": "nats", "draws": draws, "threshold": threshold(max(draws, FEWEST_DRAWS))}
    return xr.Dataset(variables, attrs=attrs)


def _terms(parts: Iterable[Draws], draws: int, memory: int) -> dict[str, Tensor]:
    """Reduce the draws of some datapoints to the terms of formula (2), `(data,)` each."""
    rounded_weights, rounded_kl = collected(
        parts,
        draws,
        lambda part: part.log_weights,
        lambda part: part.log_posterior - part.log_prior if part.kl is None else part.kl,
    )
    log_weights, kl_draws = rounded_weights.double(), rounded_kl.double()
    count = len(log_weights)
    unknown = torch.full_like(log_weights[0], math.nan)
    elbo = log_weights.mean(0)
    log_evidence, log_evidence_error = log_mean_exp(log_weights)
    # Relative weights w_k / mean(w): to first order, w_k / mean(w) - 1 is the influence of draw k
    # on log_evidence, as l_k - mean(l) is its influence on the ELBO.
    relative = (log_weights - log_evidence).exp()
    kl = kl_draws.mean(0)
    tails = {"pareto_k": unknown}
    if count >= FEWEST_DRAWS:
        fit = tail_fit(rounded_weights, memory=memory)
        tails = dict(
            zip(_FIT, (fit.shape, fit.log_cutoff, fit.log_median, fit.count), strict=True)
        )
    return {
        "reconstruction": elbo + kl,
        "kl": kl,
        "elbo": elbo,
        "log_evidence": log_evidence,
        "posterior_kl": log_evidence - elbo,
        **tails,
        "effective_sample_size": count / relative.square().mean(0),
        "reconstruction_error": mean_error(log_weights + kl_draws),
        "kl_error": mean_error(kl_draws),
        "elbo_error": mean_error(log_weights),
        "log_evidence_error": log_evidence_error,
        "posterior_kl_error": mean_error(relative - log_weights),
    }


def _with_tails(columns: dict[str, Tensor], draws: int) -> dict[str, Tensor]:
    """Replace the fits of the tails by what they say of log P(X)."""
    if draws < FEWEST_DRAWS:
        unknown = columns["pareto_k"]
        return columns | {"pooled_k": unknown, "trusted": unknown > 0, "unseen": unknown}
    tails = tail_terms(TailFit(*(columns.pop(name) for name in _FIT)), draws)
    errors = [f"{name}_error" for name in OF_WEIGHTS if f"{name}_error" in columns]
    columns |= {name: columns[name].hypot(tails["unseen"]) for name in errors}
    return columns | tails


def _finite(values: Tensor, names: Names, name: str = "log_weight") -> NDArray[np.float64]:
    # Errors of a single draw and tails of few are NaN by definition; other NaN come from the pair.
    lost = values.isnan().reshape(-1, values.shape[-1]).any(0)
    if not name.endswith(("_error", "_k", "unseen")) and bool(lost.any()):
        reason = f"{name} is NaN; the pair's parameters or distributions are not finite"
        # log P(X) = -inf is known, though its difference from the ELBO is not.
        if bool(lost.all()) and name != "posterior_kl":
            raise Unsupported(f"for all {len(lost)} datapoints {reason}")
        if name in ("log_weight", "posterior_kl"):  # which is NaN wherever another term is
            warn_of_rows(lost.nonzero()[:, 0].cpu().numpy(), len(lost), reason, names)
    array: NDArray[np.float64] = values.detach().cpu().numpy()
    return array
