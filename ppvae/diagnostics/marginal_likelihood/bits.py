"""log P(X) in the unit of image compression."""

import math

import xarray as xr


def bits_per_dimension(summary: xr.Dataset, dimensions: int) -> xr.Dataset:
    """Return -log P(X) / (D log 2): the bits that each of D features costs.

    This is the length of an ideal code for the data, made from the pair (van den Oord,
    Kalchbrenner and Kavukcuoglu, "Pixel recurrent neural networks", 2016, report it for 8-bit
    images). It is a code length only if the likelihood is a probability mass function, such as
    `likelihoods.DiscretizedLogisticMixture` of integer levels, and not if it is a density.

    Args:
        summary: what `summarize` returned.
        dimensions: D, the number of features of a datapoint.

    Returns:
        `mean`, `standard_error` and `monte_carlo_error`, in bits per dimension.

    Raises:
        ValueError: if `dimensions` is not positive.

    Example:
        >>> from ppvae import data, pairs
        >>> from ppvae.diagnostics import evidence, summarize
        >>> digits = data.digits()  # 17 levels: a code without a model takes log2(17) = 4.1 bits
        >>> terms = evidence(pairs.assemble(digits, latent=2), digits.test[:5], draws=10)
        >>> bool(bits_per_dimension(summarize(terms), 64)["mean"] > 4.1)  # not trained yet
        True
    """
    if dimensions < 1:
        raise ValueError(f"bits_per_dimension needs dimensions >= 1, got {dimensions}")
    log_evidence = summary.sel(term="log_evidence", drop=True)
    bits = log_evidence / (dimensions * math.log(2))
    bits["mean"] = -bits["mean"]
    return bits.assign_attrs({**summary.attrs, "units": "bits per dimension"})
