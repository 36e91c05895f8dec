"""Replicated data sets drawn from the model, and the observed data in the same arrangement."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine import (
    Adapted,
    Batch,
    Pair,
    by_datapoint,
    draw_chunks,
    redrawn,
    run_pair,
    unmasked,
)


@dataclass(frozen=True)
class Replicates:
    """Some replicates of the whole data set.

    Args:
        predicted: x ~ p(x|z), z ~ q(z|x), `(draw, data, *inner plates, *event)` by site.
        simulated: x ~ p(x|z), z ~ p(z), likewise.
    """

    predicted: dict[str, Tensor]
    simulated: dict[str, Tensor]


def observations(pair: Pair, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return values of the observed sites, and which are not masked, `(data, *plates, *event)`.

    The masked values tell nothing of the others: `_hidden` says what they are.
    """
    _, model = run_pair(pair, batch)
    values, masks = {}, {}
    for name, site in model.items():
        if not site["is_observed"] or site_is_factor(site):
            continue
        kept = unmasked(site)
        value = by_datapoint(site["value"].expand(kept.shape), site, None)
        masks[name] = by_datapoint(kept, site, None)
        values[name] = torch.where(masks[name], value, _hidden(value, masks[name]))
    return values, masks


def _hidden(value: Tensor, kept: Tensor) -> Tensor:
    """Return one number for each feature, for the datapoints where it is masked.

    It is the number that stands in all of these datapoints, or 0 if they differ or are NaN.
    Masked numbers that are true depend on those of the datapoint that are not, which a replicate
    does not reproduce: it would differ from the data.
    """
    value = value.nan_to_num()
    count = (~kept).sum(0)
    first = (~kept).to(torch.uint8).argmax(0, keepdim=True)
    constant = value.gather(0, first)[0]
    alike = ((value == constant) | kept).all(0) & (count > 1)  # one number alone can be true
    return torch.where(alike, constant, torch.zeros_like(constant))


def replicate(
    pair: Pair,
    batch: Batch,
    draws: int,
    memory: int,
    seeds: Iterator[int],
    *,
    prior: bool = False,
) -> Iterator[Replicates]:
    """Draw the whole data `draws` times, in blocks that stay within `memory`.

    Masked entries of the replicates are those that `observations` returns, so that no statistic
    differs because of them.

    Args:
        pair: the model/guide pair.
        batch: all datapoints.
        draws: number of replicates.
        memory: a bound in bytes on the intermediate tensors and on a block of replicates.
        seeds: of the draws from the model, one for each block.
        prior: draw latents that all datapoints share from the model, instead of the guide.

    Raises:
        Unsupported: if the pair's structure does not allow it.
    """
    values, masks = observations(pair, batch)
    size = sum(value.numel() * value.element_size() for value in values.values())
    block = max(1, min(draws, memory // max(1, 4 * size)))
    shared = isinstance(pair, Adapted) and bool(pair.shared.given)
    block = 1 if shared else block  # each replicate has its own draw of what all datapoints share
    for start in range(0, draws, block):
        count = min(block, draws - start)
        parts: list[Replicates] = []
        seed = next(seeds)
        redraw = redrawn(pair, batch, seed, prior=prior) if shared else pair
        for _, _, drawn in draw_chunks(redraw, batch, count, memory, simulation_seed=seed):
            runs = list(drawn)
            parts.append(
                Replicates(
                    {name: torch.cat([run.predicted[name] for run in runs]) for name in values},
                    {name: torch.cat([run.simulated[name] for run in runs]) for name in values},
                )
            )
        yield Replicates(
            _joined([part.predicted for part in parts], values, masks),
            _joined([part.simulated for part in parts], values, masks),
        )


def _joined(
    parts: list[dict[str, Tensor]], values: dict[str, Tensor], masks: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Join the chunks of the data; take masked entries from `values`."""
    return {
        name: torch.where(masks[name], torch.cat([part[name] for part in parts], 1), values[name])
        for name in values
    }
