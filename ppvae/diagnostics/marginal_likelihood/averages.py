"""Averages of per-datapoint terms over the data, with two standard errors."""

import math

import numpy as np
import xarray as xr
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

OF_WEIGHTS = ("log_evidence", "posterior_kl", "total", "approximation", "normal_approximation")
"""The terms that the largest weights decide."""


def summarize(evidence: xr.Dataset) -> xr.Dataset:
    """Average per-datapoint terms over the data, with two standard errors.

    Datapoints that the pair fails on, which are NaN, are left out; the attribute `data` counts the
    others. A term that is NaN for every datapoint, such as one that `gaps` could not measure, has
    the mean NaN.

    - `standard_error`: for new datapoints from the same source, the error from the draws
      included: the sample standard deviation of the per-datapoint values over sqrt(data). Use it
      for statements about unseen data.
    - `monte_carlo_error`: for just these datapoints, from the draws alone. More draws reduce it.
      Where weights are heavy, log P(X) of every datapoint is too low, and averages over the data
      are too. The size of it, the smaller of `unseen` and twice its square, is averaged over the
      data and added.

    Args:
        evidence: what `evidence` or `gaps` returned; each variable for which there is another of
            the same name with the suffix `_error` is a term.

    Returns:
        `mean`, `standard_error` and `monte_carlo_error` in nats per datapoint, dims `(term,)`.
        `standard_error` is NaN for one datapoint, `monte_carlo_error` for one draw.

    Example:
        >>> from ppvae import data, diagnostics, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> terms = diagnostics.evidence(pair, digits.test[:5], draws=10)
        >>> summarize(terms).sel(term="elbo")["mean"].shape
        ()
    """
    terms = [str(name) for name in evidence if f"{name}_error" in evidence]
    values = np.stack([evidence[name].values for name in terms])
    errors = np.stack([evidence[f"{name}_error"].values for name in terms])
    known = ~np.isnan(values).all(1)
    measured = ~np.isnan(values[known]).any(0)
    values, errors = values[:, measured], errors[:, measured]
    n = values.shape[1]
    unseen = evidence.unseen.values[measured] if "unseen" in evidence else np.zeros(n)
    of_weights = np.isin(terms, OF_WEIGHTS)
    spread = values.std(1, ddof=1) if n > 1 else np.full(len(terms), math.nan)
    return xr.Dataset(
        {
            "mean": ("term", values.mean(1)),
            "standard_error": ("term", spread / math.sqrt(n)),
            "monte_carlo_error": ("term", error_of_mean(errors, unseen, of_weights)),
        },
        coords={"term": terms},
        attrs={"units": "nats per datapoint", "data": n, "draws": evidence.attrs["draws"]},
    )


def error_of_mean(errors: Numbers, unseen: Numbers, of_weights: NDArray[np.bool_]) -> Numbers:
    """Return the Monte Carlo standard errors of means over the data, `(term,)`.

    What the draws show is independent between datapoints; what they do not show is too low for
    all, so that the smaller of `unseen` and twice its square is averaged and added.

    Args:
        errors: of each datapoint, `unseen` included in those of weights, `(term, data)`.
        unseen: how much of log P(X) may lie in weights larger than those drawn, `(data,)`.
        of_weights: the terms that the largest weights decide, `(term,)`.
    """
    unseen = np.nan_to_num(unseen, posinf=math.inf)
    common = np.zeros(len(errors))
    common[of_weights] = np.minimum(unseen, 2 * np.square(unseen)).mean()
    finite = np.where(np.isfinite(unseen), unseen, 0)
    drawn = np.sqrt(np.maximum(np.square(errors) - np.square(finite), 0))
    errors = np.where(of_weights[:, None] & (unseen > 0), drawn, errors)
    means: Numbers = np.hypot(np.sqrt(np.square(errors).sum(1)) / errors.shape[1], common)
    return means
