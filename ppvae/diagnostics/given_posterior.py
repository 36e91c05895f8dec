"""Draws of each datapoint's posterior that other diagnostics take in place of the guide's."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.names import Names
from ppvae.engine import Batch, Pair, first_rows, isolated
from ppvae.refinement import with_discrete_summed_out


class GivenPosterior(Protocol):
    """What other diagnostics read of draws that `refine` returns; see `Refined`."""

    @property
    def weighted(self) -> Mapping[str, Tensor]:
        """Draws, `(draw, data, *inner plates, *event)`, by site."""

    @property
    def log_weights(self) -> Tensor:
        """Their log weights, `(draw, data)`, of which the sum of the exponentials is 1."""

    @property
    def draws(self) -> Mapping[str, Tensor]:
        """Equally weighted draws, shaped as `weighted`, by site."""

    @property
    def means(self) -> Mapping[str, Tensor]:
        """Posterior means, `(data, *inner plates, *event)`, by site."""

    @property
    def mean_errors(self) -> Mapping[str, Tensor]:
        """Their standard errors, likewise."""

    @property
    def sds(self) -> Mapping[str, Tensor]:
        """Posterior standard deviations, likewise."""

    @property
    def table(self) -> xr.Dataset:
        """Log P(X) of each datapoint and how far it can be trusted."""

    @property
    def names(self) -> Names:
        """What the datapoints are called."""


def check_given(posterior: GivenPosterior, count: int, names: Names) -> None:
    """Refuse draws of the posterior of other datapoints.

    Args:
        posterior: the draws.
        count: number of datapoints.
        names: what they are called.

    Raises:
        ValueError: if the number of datapoints differs, or their row numbers or names do.
    """
    given = posterior.table.sizes["data"]
    if given != count:
        raise ValueError(
            f"posterior is of {given} datapoints, and the data have {count}; expected what "
            "`refine` returned for these data"
        )
    own = posterior.names
    differ = np.zeros(count, dtype=bool)
    for mine, theirs in ((own.rows, names.rows), (own.row_names, names.row_names)):
        if mine is not None and theirs is not None and len(mine) == len(theirs) == count:
            differ |= np.asarray(mine) != np.asarray(theirs)
    if differ.any():
        place = int(differ.argmax())
        raise ValueError(
            f"posterior is of other datapoints: datapoint {place} is row {own.shown([place])} "
            f"there, and row {names.shown([place])} of the data; expected what `refine` returned "
            "for these data"
        )


def drawn_from(
    posterior: GivenPosterior, draws: int, rows: NDArray[np.int64]
) -> dict[str, Tensor]:
    """Return equally weighted draws of some datapoints, `(draw, data, ...)`, by site.

    Args:
        posterior: the draws, in an order of no meaning.
        draws: how many of each datapoint.
        rows: places of the datapoints.

    Raises:
        ValueError: if there are fewer.
    """
    whole = posterior.draws
    known = len(posterior.log_weights)
    if draws > known:
        raise ValueError(
            f"draws is {draws}, and posterior has {known} per datapoint; pass at most so many, or "
            "`refine` with more"
        )
    places = torch.as_tensor(rows)
    return {name: values[:draws, places.to(values.device)] for name, values in whole.items()}


def with_its_latents(pair: Pair, batch: Batch) -> Pair:
    """Return a pair with the latents of `refine`: it sums out discrete ones beside others.

    Args:
        pair: the model/guide pair, as the engine takes it.
        batch: the datapoints.
    """
    with isolated(pair, 0):
        return with_discrete_summed_out(pair, *first_rows(pair, batch, 2))
