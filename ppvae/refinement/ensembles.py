"""A pair run for several chains of each datapoint at once."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import (
    DRAWS,
    PLATE,
    Batch,
    Pair,
    Site,
    Sites,
    Structure,
    guide_density,
    model_densities,
    per_datapoint,
    plates,
)


@dataclass(frozen=True)
class Ensemble:
    """A pair to be run for several chains of each datapoint at once.

    Args:
        pair: the model/guide pair.
        batch: the datapoints, `copies` times.
        structure: what `structure_of` said of the pair.
        rows: number of different datapoints.
        draws: chains in a plate left of all others, or None.
        copies: chains that lie in the data plate, all first chains first.
    """

    pair: Pair
    batch: Batch
    structure: Structure
    rows: int
    draws: int | None
    copies: int

    @property
    def chains(self) -> int:
        """Number of chains of each datapoint."""
        return (self.draws or 1) * self.copies

    def plate(self) -> AbstractContextManager[object]:
        """Return the plate of the chains, if they have one."""
        if self.draws is None:
            return nullcontext()
        plate: AbstractContextManager[object] = pyro.plate(
            DRAWS, self.draws, dim=self.structure.draw_dim
        )
        return plate

    def sum(self, values: Tensor, site: Site) -> Tensor:
        """Sum a site's values, event dimensions gone, over its inner plates: `(chain, data)`."""
        draw_dim, rows = self.structure.draw_dim, self.rows * self.copies
        summed = per_datapoint(values, site, draw_dim, rows, self.draws)
        return summed.reshape(self.chains, self.rows)

    def broadcast(self, values: Tensor, site: Site, event_dim: int) -> Tensor:
        """Shape `(chain, data)` so that it broadcasts against a site's values."""
        frames = plates(site)
        shape = [1] * -min(frame.dim for frame in frames)
        for frame in frames:
            if frame.name in (PLATE, DRAWS):
                shape[frame.dim] = frame.size
        return values.reshape(*shape, *(1,) * event_dim)

    def repeat(self, site: Site) -> Tensor:
        """Repeat a site's value of a run without chains for all of them."""
        fn = site["fn"]
        value = site["value"].expand(fn.batch_shape + fn.event_shape)
        return torch.cat([value] * self.copies, dim=_data_axis(value, site, fn.event_dim))

    def mean_over_chains(self, values: Tensor, site: Site, event_dim: int) -> Tensor:
        """Return the mean over all chains of values in a site's shape, in that of one chain.

        Values that are NaN are left out.
        """
        if self.draws is not None:
            axis = values.dim() - event_dim + self.structure.draw_dim
            return values.nanmean(axis, keepdim=True)
        axis = _data_axis(values, site, event_dim)
        mean: Tensor = values.unflatten(axis, (self.copies, self.rows)).nanmean(axis)
        return mean

    def for_all_chains(self, values: Tensor, site: Site, event_dim: int) -> Tensor:
        """Shape what `mean_over_chains` returned so that it broadcasts against a site's values."""
        return torch.cat([values] * self.copies, dim=_data_axis(values, site, event_dim))

    def guide_density(self, guide: Sites) -> Tensor:
        """Read log q(z|x), enumerated sites summed out, in nats, `(chain, data)`."""
        density = guide_density(guide, self.structure, self.rows * self.copies, self.draws)
        return density.reshape(self.chains, self.rows)

    def model_densities(self, model: Sites) -> tuple[Tensor, Tensor]:
        """Read log p(z) and log p(x, z) in nats, `(chain, data)`, from the model's sites."""
        rows = self.rows * self.copies
        log_prior, log_joint, _ = model_densities(model, self.structure, rows, self.draws)
        shape = (self.chains, self.rows)
        return log_prior.reshape(shape), log_joint.reshape(shape)


def _data_axis(values: Tensor, site: Site, event_dim: int) -> int:
    """Return the dimension of the datapoints in values of a site's shape."""
    (data_dim,) = (frame.dim for frame in plates(site) if frame.name == PLATE)
    return int(values.dim() - event_dim + data_dim)


def ensemble(
    pair: Pair, batch: Batch, structure: Structure, chains: int, *, vectorized: bool
) -> Ensemble:
    """Put the chains into a plate of their own, or for simpler networks into the data's.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        chains: number of chains of each datapoint.
        vectorized: whether the pair's networks take one more batch dimension.
    """
    rows = len(batch[0])
    if vectorized:
        return Ensemble(pair, batch, structure, rows, chains, 1)
    copied = tuple(torch.cat([tensor] * chains) for tensor in batch)
    return Ensemble(pair, copied, structure, rows, None, chains)


class Conditioned:
    """A pair whose observed sites have other values than its batch gives them.

    Args:
        pair: the model/guide pair.
        values: the observations, by site.
    """

    def __init__(self, pair: Pair, values: dict[str, Tensor]) -> None:
        self.pair, self.values = pair, values
        self.guide = pair.guide
        self.model: Any = poutine.condition(pair.model, data=values) if values else pair.model
