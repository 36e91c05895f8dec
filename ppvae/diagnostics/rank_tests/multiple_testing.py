"""Correction of p-values for the number of tests."""

import numpy as np
import xarray as xr

from ppvae.diagnostics.rank_tests.coordinates import unflattened


def holm(p_values: xr.Dataset) -> xr.Dataset:
    """Correct the p-values of all coordinates of all variables for their number, by Holm's method.

    With the m values in increasing order p_(1) <= ... <= p_(m), the adjusted p_(k) is the largest
    of (m - j + 1) p_(j) over j <= k, at most 1. The probability that any true hypothesis has an
    adjusted value of at most alpha is at most alpha, however the values depend on each other
    (Holm, "A simple sequentially rejective multiple test procedure", 1979).

    Args:
        p_values: one p-value for each coordinate of each variable.

    Example:
        >>> holm(xr.Dataset({"z": ("z_dim_0", [0.01, 0.5, 0.02])})).z.values.tolist()
        [0.03, 0.5, 0.04]
    """
    flat = np.concatenate([array.values.reshape(-1) for array in p_values.values()])
    order = np.argsort(flat)
    steps = flat[order] * np.arange(len(flat), 0, -1)
    adjusted = np.empty_like(flat)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return unflattened(adjusted, p_values, p_values.attrs)
