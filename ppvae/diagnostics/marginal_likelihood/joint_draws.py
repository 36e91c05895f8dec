"""Draws of a guide for all data together, at once where the pair allows it."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.diagnostics.export.fitted_programs import FittedPrograms
from ppvae.engine import (
    MEMORY,
    Data,
    Draws,
    Pair,
    Unsupported,
    adapted,
    as_one,
    collected,
    draw_chunks,
    isolated,
    progress_bar,
)


@dataclass(frozen=True)
class JointDraws:
    """Draws Z_k ~ Q(Z|X) of all latents.

    Args:
        log_weights: log p(X, Z_k) - log q(Z_k|X) in nats, `(draw, 1)`.
        latents: their values, `(draw, number)`, by site.
    """

    log_weights: Tensor
    latents: Mapping[str, Tensor]


def at_once(
    pair: Pair, data: Data, names: Sequence[str], draws: int, seed: int
) -> JointDraws | None:
    """Draw with all data as one datapoint; None where the pair does not allow it.

    Args:
        pair: the pair.
        data: all data.
        names: the latents whose values are kept.
        draws: how many.
        seed: of the draws.
    """
    with suppress(Unsupported):
        one, row = adapted(*as_one(pair, data), split="train")
        with isolated(one, seed):
            ((_, structure, parts),) = draw_chunks(one, row, draws, MEMORY, compile=False)
            kept = [name for name in names if name in structure.latents]

            def values_of(name: str, part: Draws) -> Tensor:
                return part.latents[name].flatten(1)

            log_weights, *values = collected(
                parts,
                draws,
                lambda part: part.log_weights,
                *(lambda part, name=name: values_of(name, part) for name in kept),
            )
        return JointDraws(
            log_weights.double().cpu(),
            {name: value.double().cpu() for name, value in zip(kept, values, strict=True)},
        )
    return None


def one_by_one(
    programs: FittedPrograms, names: Sequence[str], draws: int, progress: bool | None
) -> JointDraws:
    """Draw by one run of guide and model each.

    Args:
        programs: model and guide, after their first run.
        names: the latents whose values are kept.
        draws: how many.
        progress: show a progress bar.
    """
    log_weights, values = [], {name: list[Tensor]() for name in names}
    for _ in progress_bar(range(draws), unit=" draws", progress=progress):
        drawn, log_q = programs.draw()
        log_weights.append(programs.score(drawn, log_q).log_weight)
        for name, kept in values.items():
            if name in drawn:
                kept.append(drawn[name]["value"].detach().double().flatten())
    return JointDraws(
        torch.tensor(log_weights, dtype=torch.float64)[:, None],
        {name: torch.stack(kept).cpu() for name, kept in values.items() if kept},
    )
