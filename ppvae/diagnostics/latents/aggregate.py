"""The aggregate posterior of a dataset, scored by all its components."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pyro.poutine as poutine
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
        rows: how many datapoints the guide is run on at once.
        memory: a bound in bytes on the intermediate tensors.
    """

    pair: Pair
    batch: Batch
    structure: Structure
    rows: int
    memory: int

    def score(self, latents: Mapping[str, Tensor], first: int) -> tuple[Tensor, Tensor]:
        """Return log q(z|x) of each draw at its own datapoint, and log q(z).

        Both are `(draw, data, column)`, in nats and double precision. The columns are those of
        `log_densities`, sites side by side, and at last the joint's.

        Args:
            latents: draws of q(z|x), `(draw, data, *inner plates, *event)`, by site.
            first: position in the batch of the first of their datapoints.
        """
        draws, count = next(iter(latents.values())).shape[:2]
        flat = {name: values.flatten(0, 1) for name, values in latents.items()}
        owners = torch.arange(first, first + count).repeat(draws)
        total = own = torch.tensor(-math.inf, dtype=torch.double)
        start = 0
        for chunk in row_chunks(self.batch, self.rows):
            summed, exact = self._component(chunk, flat, owners - start)
            inside = (owners >= start) & (owners < start + len(chunk[0]))
            own = torch.where(inside.to(exact.device)[:, None], exact, own.to(exact.device))
            total = torch.logaddexp(total.to(summed.device), summed)
            start += len(chunk[0])
        total = total - math.log(start)
        return own.unflatten(0, (draws, count)), total.unflatten(0, (draws, count))

    def _component(
        self, chunk: Batch, latents: Mapping[str, Tensor], positions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sum some components' densities at all draws, and pick the one at each position."""
        rows, draw_dim = len(chunk[0]), self.structure.draw_dim
        with seeded(0):  # the guide's own draws are not used, and must not move those that are
            guide = sample_sites(poutine.trace(self.pair.guide).get_trace(*chunk))
        positions = positions.clamp(0, rows - 1)
        with Allocations() as allocations:
            first = {name: value[:1] for name, value in latents.items()}
            columns = _columns(guide, first, draw_dim, rows)
        together = max(1, self.memory // (2 * allocations.bytes))
        # Made before the large tensors: small ones between them would pin the memory they leave.
        summed, exact = columns.new_empty(
            (2, len(positions), columns.shape[-1]), dtype=torch.double
        )
        for start in range(0, len(positions), together):
            tile = {name: value[start : start + together] for name, value in latents.items()}
            columns = _columns(guide, tile, draw_dim, rows)
            at = positions[start : start + together]
            summed[start : start + together] = columns.logsumexp(1)
            exact[start : start + together] = columns[torch.arange(len(at)), at]
        return summed, exact


def _columns(guide: Sites, latents: Mapping[str, Tensor], draw_dim: int, rows: int) -> Tensor:
    """Return the log densities of some draws under all components, `(draw, component, column)`."""
    parts = []
    for name, values in latents.items():
        try:
            parts.append(log_densities(guide[name], values[:, None], draw_dim, rows))
        except (NotImplementedError, RuntimeError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the guide cannot score the draws of one datapoint at another, at latent site "
                f"{name!r}: {reason}"
            ) from error
    columns = torch.cat(parts, -1)
    return torch.cat([columns, columns.sum(-1, keepdim=True)], -1)
