"""Whether one dimension alone knows a factor: by mutual information."""

import numpy as np
from numpy.typing import NDArray

from ppvae.diagnostics.latents.codes import Numbers


def information_gap(codes: Numbers, factors: Numbers, bins: int) -> float:
    """Return the mutual information gap (MIG), between 0 and 1.

        MIG = 1/K sum_k (I(z_j1; v_k) - I(z_j2; v_k)) / H(v_k)

    with the two dimensions that know most of factor k (Chen, Li, Grosse and Duvenaud, "Isolating
    Sources of Disentanglement in Variational Autoencoders", 2018). Values are counted in `bins`
    bins of equally many datapoints each, or as they are where they take no more values; of the
    entropies the first-order bias of counts, (occupied cells - 1) / 2N, is taken off (Miller,
    "Note on the bias of information estimates", 1955).

    Args:
        codes: `(data, latent)`.
        factors: `(data, factor)`.
        bins: number of bins.
    """
    latents = [binned(column, bins) for column in codes.T]
    gaps = []
    for factor in (binned(column, bins) for column in factors.T):
        entropy = _entropy(factor)
        known = [entropy + _entropy(z) - _entropy(z * bins + factor) for z in latents]
        second, first = sorted([0.0, 0.0, *known])[-2:]
        gaps.append((first - second) / entropy)
    return float(np.mean(gaps))


def binned(values: Numbers, bins: int) -> NDArray[np.int64]:
    """Return the bin of each value, from 0 to `bins` - 1, equal values in one.

    Example:
        >>> binned(np.array([0.1, 5.0, 0.2, 9.0]), 2)
        array([0, 1, 0, 1])
    """
    distinct, index = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return index.astype(np.int64)
    edges = np.quantile(values, np.arange(1, bins) / bins)
    return np.searchsorted(edges, values, side="right").astype(np.int64)


def _entropy(index: NDArray[np.int64]) -> float:
    """Return the entropy of integers in nats."""
    counts = np.unique(index, return_counts=True)[1]
    share = counts / len(index)
    return float(-(share * np.log(share)).sum() + (len(counts) - 1) / (2 * len(index)))
