"""The shapes of a guide's latent sites, and their values as one vector for each datapoint."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Transform

from ppvae.engine import PLATE, Site, Sites, depends_on_enumerated, per_datapoint, plates


@dataclass(frozen=True)
class LatentSites:
    """The guide's latent sites in one run, and where their draws go.

    Args:
        sites: the sites, by name.
        draw_dim: the batch dimension of the draws.
        rows: number of datapoints.
    """

    sites: Sites
    draw_dim: int
    rows: int

    def aligned(self, name: str, drawn: Tensor) -> Tensor:
        """Put a site's draws, `(draw, *batch, *event)`, left of every plate of the pair."""
        missing = -self.draw_dim - 1 - len(self.sites[name]["fn"].batch_shape)
        return drawn.reshape(len(drawn), *(1,) * missing, *drawn.shape[1:])

    def per_datapoint(self, name: str, log_prob: Tensor) -> Tensor:
        """Sum what one site has, `(draw, *plates)`, over the plates within the data's."""
        return per_datapoint(log_prob, self.sites[name], self.draw_dim, self.rows, len(log_prob))

    def columns(self, name: str, values: Tensor) -> Tensor:
        """Arrange a site's values, `(draw, ..., *plates, *event)`, as `(draw, data, values)`."""
        batch = self.sites[name]["fn"].batch_shape
        event = values.shape[-self.draw_dim :]
        values = values.reshape(len(values), *batch, *event)
        values = values.movedim(1 + self.data_axis(name), 1)
        return values.reshape(*values.shape[:2], -1)

    def by_site(self, columns: Tensor, transforms: Mapping[str, Transform]) -> dict[str, Tensor]:
        """Put `(draw, data, values)` into the shapes of the sites, and onto their supports."""
        values, start, draws = {}, 0, len(columns)
        for name, transform in transforms.items():
            distribution = self.sites[name]["fn"]
            batch = distribution.batch_shape
            event = transform.inverse_shape(distribution.event_shape)
            dim = self.data_axis(name)
            others = (*batch[:dim], *batch[dim + 1 :], *event)
            end = start + torch.Size(others).numel()
            part = columns[..., start:end].reshape(draws, self.rows, *others)
            part = self.aligned(name, part.movedim(1, 1 + dim).reshape(draws, *batch, *event))
            values[name] = transform(part)
            start = end
        return values

    def data_axis(self, name: str) -> int:
        """Return the dimension of the datapoints in a site's batch shape, from the left."""
        site = self.sites[name]
        data_dim = next(int(frame.dim) for frame in plates(site) if frame.name == PLATE)
        return len(site["fn"].batch_shape) + data_dim


def of_value_shape(site: Site) -> Site:
    """Return a site with a distribution of its value's shape alone, however it was enumerated."""
    if not depends_on_enumerated(site):
        return site
    return {**site, "fn": dist.Delta(site["value"], event_dim=site["fn"].event_dim)}
