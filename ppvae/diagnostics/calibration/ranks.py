"""Ranks of true values among draws, for data that the model simulated."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.engine import (
    Batch,
    Draws,
    Pair,
    Structure,
    Unsupported,
    depends_on_place,
    draw_chunks,
    isolated,
    progress_bar,
    simulations,
)

_ROUNDING = 32  # units in the last place by which equal log densities may differ


@dataclass(frozen=True)
class SimulatedRanks:
    """Ranks of the z that x was simulated from among draws z ~ q(z|x).

    Args:
        latents: ranks by site, `(simulation, *inner plates, *event)`.
        log_joint: ranks of log p(x, z), `(simulation,)`.
        log_posterior: ranks of log q(z|x), `(simulation,)`; 0 where it is not known.
        structure: of the pair.
        draws: number of draws for each simulation; the largest rank.
        unscored: sites at which the guide can score its own draws alone, so that log q(z|x) of
            the simulated latents is not known, with the reason.
    """

    latents: dict[str, Tensor]
    log_joint: Tensor
    log_posterior: Tensor
    structure: Structure
    draws: int
    unscored: dict[str, str]


class RankCounter:
    """Counts the draws below true values and those equal to them, chunk by chunk.

    Args:
        name: of what is ranked, for messages.
        truth: the true values, `(data, ...)`.
        tolerance: largest difference of two numbers that count as equal; 0 unless given.
    """

    def __init__(self, name: str, truth: Tensor, tolerance: Tensor | None = None) -> None:
        self.name = name
        self.truth = truth
        self.tolerance = tolerance
        self.below = torch.zeros_like(truth, dtype=torch.long)
        self.equal = torch.zeros_like(truth, dtype=torch.long)

    def add(self, draws: Tensor) -> None:
        """Count draws `(draw, data, ...)`.

        Raises:
            Unsupported: if they do not have the shape of the truth, or one is NaN.
        """
        if draws.shape[1:] != self.truth.shape:
            raise Unsupported(
                f"{self.name} has the shape {tuple(draws.shape[2:])} where it is drawn and "
                f"{tuple(self.truth.shape[1:])} where it is simulated; give both the same"
            )
        if bool(draws.isnan().any() | self.truth.isnan().any()):
            raise Unsupported(
                f"{self.name} is NaN for some of the data; the pair's weights or distributions "
                "are not finite"
            )
        equal = draws == self.truth
        if self.tolerance is not None:
            equal |= (draws - self.truth).abs() <= self.tolerance
        self.below += ((draws < self.truth) & ~equal).sum(0)
        self.equal += equal.sum(0)

    def ranks(self) -> Tensor:
        """Return ranks from 0 to the number of draws; a random one among equal values."""
        noise = torch.rand(self.below.shape, device=self.below.device, dtype=torch.float64)
        among = (noise * (self.equal + 1)).long()
        return self.below + among.minimum(self.equal)


def simulated_ranks(
    pair: Pair,
    template: Batch,
    count: int,
    draws: int,
    *,
    seed: int,
    memory: int,
    progress: bool | None,
) -> SimulatedRanks:
    """Simulate z ~ p(z), x ~ p(x|z), draw from q(z|x), and rank the simulated z among the draws.

    Ranks lie in 0, ..., draws; equal values get a random one of the ranks they share. Log
    densities that differ by rounding alone count as equal.

    Args:
        pair: the model/guide pair.
        template: data on which the model runs; its observations are replaced.
        count: number of simulations.
        draws: number of draws for each.
        seed: of simulations and draws.
        memory: bound in bytes on the intermediate tensors.
        progress: show a progress bar; only on a terminal, unless given.

    Raises:
        Unsupported: if the pair cannot be simulated or has parameters for each row, or a draw or
            density is NaN.
        ValueError: if `count`, `draws` or `memory` is below 1.
    """
    parts: list[tuple[dict[str, Tensor], list[Tensor]]] = []
    bar = progress_bar(total=count, unit=" simulations", progress=progress)
    with bar, isolated(pair, seed):
        for simulated in simulations(pair, template, count, memory):
            if not parts and depends_on_place(pair, simulated.batch, simulated.structure):
                raise Unsupported(
                    "the pair has parameters for each row of its data, so that q(z|x) of "
                    "simulated datapoints is not known"
                )
            start = 0
            for chunk, _, drawn in draw_chunks(pair, simulated.batch, draws, memory):
                rows = slice(start, start + len(chunk[0]))
                parts.append(_rank(simulated.truth, rows, drawn, not simulated.unscored))
                start = rows.stop
                bar.update(len(chunk[0]))
        structure, unscored = simulated.structure, simulated.unscored
    log_joint, log_posterior = (
        torch.cat(columns)[:count] for columns in zip(*(part[1] for part in parts), strict=True)
    )
    latents = {
        name: torch.cat([part[0][name] for part in parts])[:count] for name in structure.latents
    }
    return SimulatedRanks(latents, log_joint, log_posterior, structure, draws, unscored)


def _rank(
    truth: Draws, rows: slice, drawn: Iterable[Draws], scored: bool
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Rank some of the simulations: their latents, then log p(x, z) and log q(z|x).

    The last ranks are 0 unless the truth is scored.
    """
    latents, densities = _counters(truth, rows)
    for part in drawn:
        for name, counter in latents.items():
            counter.add(part.latents[name])
        joint, posterior = _densities(part)
        densities[0].add(joint)
        if scored:
            densities[1].add(posterior)
    ranks = {name: counter.ranks() for name, counter in latents.items()}
    return ranks, [counter.ranks() for counter in densities]


def _densities(draws: Draws) -> tuple[Tensor, Tensor]:
    """Return log p(x, z) and log q(z|x)."""
    return draws.log_prior + draws.log_likelihood, draws.log_posterior


def _counters(truth: Draws, rows: slice) -> tuple[dict[str, RankCounter], list[RankCounter]]:
    """Make a counter for each latent site, and for log p(x, z) and log q(z|x)."""
    latents = {
        name: RankCounter(f"latent site {name!r}", values[0, rows])
        for name, values in truth.latents.items()
    }
    joint, posterior = (values[0, rows] for values in _densities(truth))
    eps = _ROUNDING * torch.finfo(joint.dtype).eps
    terms = truth.log_prior[0, rows].abs() + truth.log_likelihood[0, rows].abs()
    return latents, [
        RankCounter("log p(x, z)", joint, eps * (1 + terms)),
        RankCounter("log q(z|x)", posterior, eps * (1 + posterior.abs())),
    ]
