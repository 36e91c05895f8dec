"""The tails of importance weights, datapoint by datapoint."""

import torch
import xarray as xr

from ppvae.diagnostics.failed_rows import by_row
from ppvae.diagnostics.given_posterior import GivenPosterior, check_given
from ppvae.diagnostics.marginal_likelihood.pareto import tail_fit, tail_length, threshold
from ppvae.diagnostics.marginal_likelihood.pooled_tails import pooled_shapes
from ppvae.diagnostics.marginal_likelihood.posterior_terms import tails_of
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
    progress_bar,
    refuse_degenerate,
)


def pareto_k(
    pair: Pair,
    data: Data,
    *,
    posterior: GivenPosterior | None = None,
    draws: int = 1000,
    seed: int = 0,
    memory: int = MEMORY,
    progress: bool | None = None,
) -> xr.Dataset:
    """Fit a generalized Pareto distribution to the largest importance weights of each datapoint.

        p(w - u | w > u) = (1 + k (w - u) / sigma)^(-1/k - 1) / sigma,    w = p(x, z) / q(z|x)

    The weights have 1/k finite moments. Averages over them, as in `evidence`, are reliable while
    k is below the threshold min(1 - 1/log10(S), 0.7) of S draws; above it the guide misses an
    important part of the posterior (Vehtari, Simpson, Gelman, Yao and Gabry,
    "Pareto Smoothed Importance Sampling", 2024). The fit is the quasi-Bayesian one of Zhang and
    Stephens, "A New and Efficient Estimation Method for the Generalized Pareto Distribution",
    2009, shrunk towards 0.5 with the weight of ten draws as in Vehtari et al.

    - `pareto_k`: the estimate of k; -inf where all weights are equal, or none of them lies above
      the cutoff of the tail. Its standard error is about (1 + k) / sqrt(n) for the
      n = min(S / 5, 3 sqrt(S)) largest weights, 0.17 for 1000 draws: by this error alone, weights
      of one law have estimates on both sides of the threshold;
    - `pooled_k`: the estimates shrunk towards each other as far as that error explains their
      spread over datapoints. A single datapoint keeps its own;
    - `trusted`: whether `pooled_k` is below the threshold;
    - `effective_sample_size` = (sum w)^2 / sum w^2 as in `evidence`, between 1 and S.

    With `posterior`, what `refine` returns, all are of its draws, as `refine` measured them, and
    `pooled_k` is `pareto_k`. Its k is at least that of the weights times the distance from the
    mean.

    Args:
        pair: any pair.
        data: `(data, *event)`; of a dataset, the test split.
        posterior: what `refine` returned for these data.
        draws: number of draws per datapoint, at least 21.
        seed: of the draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Returns:
        A dataset with dims `(data,)` and attributes `draws` and `threshold`.

    Raises:
        Unsupported: if the pair's structure does not allow it, or weights are not finite.
        ValueError: with too few draws, if the data are not valid, or `posterior` is of others.

    Example:
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> tails = pareto_k(pairs.assemble(digits, latent=2), digits.test[:5], draws=100)
        >>> tails.sizes, round(tails.attrs["threshold"], 3)
        (Frozen({'data': 5}), 0.5)
    """
    tail_length(draws)
    names = names_of(data, "test")
    pair, batch = adapted(pair, data, split="test", seed=seed, in_chunks=True)
    if posterior is not None:
        check_given(posterior, len(batch[0]), names)
        return tails_of(posterior)
    return by_row(
        pair, batch, lambda rows: _pareto_k(pair, rows, draws, seed, memory, progress), names
    )


def _pareto_k(
    pair: Pair, batch: Batch, draws: int, seed: int, memory: int, progress: bool | None
) -> xr.Dataset:
    fits, sizes = [], []
    bar = progress_bar(total=len(batch[0]), unit=" datapoints", progress=progress)
    with bar, isolated(pair, seed):
        for chunk, structure, parts in draw_chunks(pair, batch, draws, memory):
            refuse_degenerate(structure)
            (log_weights,) = collected(parts, draws, lambda part: part.log_weights)
            fits.append(tail_fit(log_weights, memory=memory).shape)
            relative = log_weights.double().softmax(0)
            sizes.append(1 / relative.square().sum(0))
            bar.update(len(chunk[0]))
    shapes = torch.cat(fits).cpu().numpy()
    pooled = pooled_shapes(shapes, tail_length(draws))
    return xr.Dataset(
        {
            "pareto_k": ("data", shapes),
            "pooled_k": ("data", pooled),
            "trusted": ("data", pooled < threshold(draws)),
            "effective_sample_size": ("data", torch.cat(sizes).cpu().numpy()),
        },
        attrs={"draws": draws, "threshold": threshold(draws)},
    )
