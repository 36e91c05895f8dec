"""The aggregate posterior of a dataset, evaluated with all its components."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.diagnostics.latents.dimensions import log_densities
from ppvae.engine import (
    Allocations,
    Batch,
    Pair,
    Sites,
    Structure,
    row_chunks,
    run_guide,
    sample_sites,
    seeded,
)


@dataclass(frozen=True)
class Aggregate:
    """q(z) = 1/N sum_n q(z|x_n), the mixture of the guide's distributions at N datapoints.

    Args:
        pair: a pair whose guide draws each latent given the data alone.
        batch: the N datapoints.
        structure: what `structure_of` said of the pair.
        rows: how many datapoints the guide runs on at once.
        memory: bound in bytes on the intermediate tensors.
    """

    pair: Pair
    batch: Batch
    structure: Structure
    rows: int
    memory: int

    def score(self, latents: Mapping[str, Tensor], first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return log q(z|x) of each draw at its own datapoint, log q(z), and log q(z) without it.

        The first two are `(draw, data, column)`, in nats and double precision. The columns are
        those of `log_densities`, sites side by side, and last that of the joint density. The third
        is the joint density of the mixture of all other datapoints, `(draw, data)`.

        Args:
            latents: draws of q(z|x), `(draw, data, *inner plates, *event)`, by site.
            first: position in the batch of the first of their datapoints.
        """
        draws, count = next(iter(latents.values())).shape[:2]
        flat = {name: values.flatten(0, 1) for name, values in latents.items()}
        owners = torch.arange(first, first + count).repeat(draws)
        total = own = others = torch.tensor(-math.inf, dtype=torch.double)
        start = 0
        for chunk in row_chunks(self.batch, self.rows):
            summed, exact, without = self._component(chunk, flat, owners - start)
            inside = (owners >= start) & (owners < start + len(chunk[0]))
            own = torch.where(inside.to(exact.device)[:, None], exact, own.to(exact.device))
            total = torch.logaddexp(total.to(summed.device), summed)
            others = torch.logaddexp(others.to(without.device), without)
            start += len(chunk[0])
        scores = own, total - math.log(start), others - math.log(start - 1)
        own, total, others = (values.unflatten(0, (draws, count)) for values in scores)
        return own, total, others

    def _component(
        self, chunk: Batch, latents: Mapping[str, Tensor], positions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum some components' densities at all draws, and select the one at each position.

        The third sum, of the joint density, is without the component at the position.
        """
        rows, draw_dim = len(chunk[0]), self.structure.draw_dim
        with seeded(0):  # the draws of this run are not used, and must not change later ones
            guide = sample_sites(run_guide(self.pair, chunk))
        elsewhere = (positions < 0) | (positions >= rows)
        positions = positions.clamp(0, rows - 1)
        with Allocations() as allocations:
            first = {name: value[:1] for name, value in latents.items()}
            columns = _columns(guide, first, draw_dim, rows)
        count = max(1, self.memory // (2 * allocations.bytes))
        # Allocated before the large tensors: small ones between them would fragment the memory.
        summed, exact = columns.new_empty(
            (2, len(positions), columns.shape[-1]), dtype=torch.double
        )
        without = columns.new_empty(len(positions), dtype=torch.double)
        for start in range(0, len(positions), count):
            tile = {name: value[start : start + count] for name, value in latents.items()}
            columns = _columns(guide, tile, draw_dim, rows)
            at = positions[start : start + count]
            summed[start : start + count] = columns.logsumexp(1)
            exact[start : start + count] = columns[torch.arange(len(at)), at]
            joint, here = columns[..., -1], elsewhere[start : start + count]
            kept = here[:, None] | (torch.arange(rows) != at[:, None])
            without[start : start + count] = joint.where(
                kept.to(joint.device), -math.inf
            ).logsumexp(1)
        return summed, exact, without


def _columns(guide: Sites, latents: Mapping[str, Tensor], draw_dim: int, rows: int) -> Tensor:
    """Return the log densities of some draws under all components, `(draw, component, column)`."""
    parts = []
    for name, values in latents.items():
        parts.append(log_densities(guide[name], values[:, None], draw_dim, rows))
    columns = torch.cat(parts, -1)
    return torch.cat([columns, columns.sum(-1, keepdim=True)], -1)
