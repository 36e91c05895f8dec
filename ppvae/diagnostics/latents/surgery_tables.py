"""The terms of ELBO surgery, averaged over the data, and bounds of them."""

import math
from collections.abc import Mapping

import torch
import xarray as xr
from torch import Tensor

TERMS = ("kl", "mutual_information", "marginal_kl", "total_correlation", "dimension_kl")
"""What `surgery` measures, in its order."""


def bounds(means: Tensor, normal: Tensor | None, undefined: Mapping[str, str]) -> xr.Dataset:
    """Return bounds of I(x; z) and KL[q(z) || p(z)] with their standard errors.

    Args:
        means: the terms of each draw, averaged over draws, `(data, term)`.
        normal: log g(z) - log p(z) of the fitted normal densities, `(data,)`, if there are any.
        undefined: the terms that the pair does not have.
    """
    kl, information, marginal = means[:, :3].unbind(1)
    without_own, others = means[:, len(TERMS) : len(TERMS) + 2].unbind(1)
    above, below = [without_own], [torch.zeros_like(kl), others]
    if "marginal_kl" not in undefined:
        above.append(kl)
    if normal is not None:
        below.append(normal)
    columns = {
        "mutual_information": (information, min(above, key=_mean)),
        "marginal_kl": (max(below, key=_lowest), marginal),
    }
    table = torch.tensor(
        [
            [number for side in sides for number in (_mean(side), _error(side))]
            if term not in undefined
            else [math.nan] * 4
            for term, sides in columns.items()
        ],
        dtype=torch.double,
    )
    names = ("lower", "lower_error", "upper", "upper_error")
    variables = {name: ("term", table[:, place].numpy()) for place, name in enumerate(names)}
    return xr.Dataset(variables, {"term": list(columns)}, {"units": "nats per datapoint"})


def _mean(values: Tensor) -> float:
    return float(values.mean())


def _error(values: Tensor) -> float:
    return float(values.std()) / math.sqrt(len(values))


def _lowest(values: Tensor) -> float:
    """Return a mean less two standard errors; -inf where a value is not finite."""
    lowest = _mean(values) - 2 * _error(values)
    return -math.inf if math.isnan(lowest) else lowest


def summary(
    means: Tensor, errors: Tensor, undefined: Mapping[str, str], attrs: dict[str, object]
) -> xr.Dataset:
    """Average over the data, with both standard errors; NaN where a term is not defined."""
    rows = len(means)
    known = torch.tensor([term not in undefined for term in TERMS], device=means.device)
    columns = {
        "mean": means.mean(0),
        "standard_error": means.std(0) / math.sqrt(rows),
        "monte_carlo_error": errors.sum(0).sqrt() / rows,
    }
    variables = {
        name: ("term", values.where(known, math.nan).cpu().numpy())
        for name, values in columns.items()
    }
    return xr.Dataset(variables, {"term": list(TERMS)}, attrs)
