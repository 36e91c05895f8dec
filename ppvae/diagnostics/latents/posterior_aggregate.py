"""The aggregate of the posteriors p(z|x) of a dataset, evaluated with all its components."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.diagnostics.given_posterior import GivenPosterior
from ppvae.diagnostics.latents.dependence import changed_by_data
from ppvae.engine import (
    Batch,
    Pair,
    Sites,
    Structure,
    Unsupported,
    draw_chunks,
    execute,
    is_masked,
    refuse_unnormalized,
    refuse_without_latents,
    row_chunks,
)

_NOT_KNOWN = "p(z_i|x), the posterior of a single dimension, is not known"


@dataclass(frozen=True)
class PosteriorAggregate:
    """p(z) = 1/N sum_n p(z|x_n), the mixture of the posteriors of N datapoints.

    Args:
        pair: any pair whose latents are not masked.
        batch: the N datapoints.
        structure: what `structure_of` said of the pair.
        rows: how many datapoints the model runs on at once.
        memory: bound in bytes on the intermediate tensors.
        log_evidence: log P(x_n) in nats, `(data,)`.
    """

    pair: Pair
    batch: Batch
    structure: Structure
    rows: int
    memory: int
    log_evidence: Tensor

    def score(self, latents: Mapping[str, Tensor], first: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return log p(z|x) of each draw at its own datapoint, log p(z), and log p(z) without it.

            log p(z|x_n) = log p(x_n, z) - log P(x_n)

        Arguments and shapes are those of `Aggregate.score`, with the column of the joint density
        alone.
        """
        draws, count = next(iter(latents.values())).shape[:2]
        flat = {name: values.flatten(0, 1) for name, values in latents.items()}
        owners = torch.arange(first, first + count).repeat(draws)
        total = own = others = torch.full((len(owners),), -math.inf, dtype=torch.double)
        start = 0
        for chunk in row_chunks(self.batch, self.rows):
            components = self._components(chunk, flat, start)
            numbers = torch.arange(start, start + len(chunk[0]))
            mine = owners[:, None] == numbers
            own = torch.logaddexp(own, components.where(mine, -math.inf).logsumexp(1))
            others = torch.logaddexp(others, components.where(~mine, -math.inf).logsumexp(1))
            total = torch.logaddexp(total, components.logsumexp(1))
            start += len(chunk[0])
        shape = (draws, count)
        own, total = own.reshape(shape), total.reshape(shape) - math.log(start)
        others = others.reshape(shape) - math.log(start - 1)
        return own.unsqueeze(-1), total.unsqueeze(-1), others

    def _components(self, chunk: Batch, latents: Mapping[str, Tensor], start: int) -> Tensor:
        """Return log p(z|x_m) of every draw at some datapoints, `(draw, data)`."""
        rows = len(chunk[0])
        count = len(next(iter(latents.values())))
        given = {
            name: values.unsqueeze(1).expand(-1, rows, *values.shape[1:])
            for name, values in latents.items()
        }
        columns = []
        for _, _, parts in draw_chunks(
            self.pair, chunk, count, self.memory, compile=False, given=given
        ):
            joint = [(part.log_prior + part.log_likelihood).double().cpu() for part in parts]
            columns.append(torch.cat(joint))
        return torch.cat(columns, 1) - self.log_evidence[start : start + rows]


def known_evidence(posterior: GivenPosterior, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return log P(x) of some datapoints and its standard error, in nats, `(data,)` each.

    Raises:
        Unsupported: if it is not known for all of them.
    """
    table = posterior.table
    values, errors = (table[name].values[rows] for name in ("log_evidence", "log_evidence_error"))
    lost = rows[~np.isfinite(values)]
    if len(lost):
        raise Unsupported(
            f"log P(x) of row {posterior.names.shown(lost[:1])} is not known, and all posteriors "
            "are compared with each other; leave the row out, and `refine` without it"
        )
    return torch.as_tensor(values).double(), torch.as_tensor(errors).double()


def undefined_of_posterior(
    pair: Pair, batch: Batch, other: Batch, structure: Structure
) -> tuple[dict[str, str], Sites]:
    """Return the terms that are not defined, with the reason, and the sites of a run of the model.

    Args:
        pair: any pair.
        batch: some datapoints.
        other: as many other datapoints.
        structure: what `structure_of` said of the pair.

    Raises:
        Unsupported: if the posteriors of two datapoints are not over the same latents.
    """
    refuse_without_latents(structure)
    refuse_unnormalized(structure)
    guide, model = execute(pair, batch, structure)
    for name in structure.latents:
        if is_masked(guide[name]) or is_masked(model[name]):
            raise Unsupported(
                f"latent site {name!r} is masked, so the posteriors of two datapoints are not "
                "over the same latents"
            )
    undefined = {"total_correlation": _NOT_KNOWN, "dimension_kl": _NOT_KNOWN}
    for name in changed_by_data(pair, batch, other, structure):
        undefined["marginal_kl"] = f"the prior of {name!r} differs between datapoints"
    return undefined, model
