"""Draws folded into rows: the batch's rows repeated, all of the first draw first.

A network for a single batch dimension then runs on all draws at once.
"""

from collections.abc import Mapping

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.failures import rows_at
from ppvae.engine.sites import PLATE, Site, Sites, plates


def folded(batch: Batch, draws: int) -> Batch:
    """Return the rows of a batch `draws` times, `(draw * data, ...)`."""
    return rows_at(batch, torch.arange(len(batch[0])).repeat(draws))


def unfolded(values: Mapping[str, Tensor], draws: int) -> dict[str, Tensor]:
    """Arrange values by site, `(1, draw * data, ...)`, as `(draw, data, ...)`."""
    return {name: of_draws(value, draws) for name, value in values.items()}


def of_draws(value: Tensor, draws: int) -> Tensor:
    """Arrange one value `(1, draw * data, ...)` as `(draw, data, ...)`."""
    return value.reshape(draws, -1, *value.shape[2:])


def at_rows(site: Site, rows: Tensor) -> Site:
    """Return a site with the values of some datapoints."""
    (data_dim,) = (frame.dim for frame in plates(site) if frame.name == PLATE)
    value = site["value"]
    axis = value.dim() - site["fn"].event_dim + data_dim
    if axis < 0 or value.shape[axis] == 1:  # all rows share it
        return site
    rows = rows.to(value.device)
    taken = value.index_select(axis, rows)
    soft = getattr(value, "_unquantize", None)
    if soft is not None:  # Pyro's straight-through draws carry what log_prob scores
        taken.__dict__["_unquantize"] = soft.index_select(axis, rows)
    return {**site, "value": taken}


def one_folded(sites: Sites, rows: int, index: int) -> poutine.Trace:
    """Return one of the draws of folded sites, as a trace that a run on the batch replays."""
    trace = poutine.Trace()
    of_draw = torch.arange(index * rows, (index + 1) * rows)
    for name, site in sites.items():
        trace.add_node(name, **at_rows(site, of_draw))
    return trace
