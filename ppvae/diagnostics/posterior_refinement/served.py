"""The best weighted draws so far of each datapoint of a chunk."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ppvae.diagnostics.posterior_refinement.weighted_draws import Assessment, Weighted, assess
from ppvae.engine import Draws, collected, mean_error
from ppvae.refinement import Target


@dataclass
class Served:
    """The best weighted draws so far of each datapoint of a chunk.

    Args:
        latents: the draws, `(draw, data, *inner plates, *event)`, by site.
        log_weights: in nats, `(draw, data)`.
        columns: of each datapoint, `(data,)`: what `Assessment` names, `level`, `trusted` and
            `good`, and of the guide `elbo` and its error.
        memory: bound in bytes on the intermediate tensors.
        rank: the k by which levels are compared, `(data,)`.
        refusal: why not every level could be tried; "" where it could.
    """

    latents: dict[str, Tensor]
    log_weights: Tensor
    columns: dict[str, Tensor]
    memory: int
    rank: Tensor
    refusal: str = ""

    @classmethod
    def by_guide(
        cls, names: tuple[str, ...], parts: Iterable[Draws], draws: int, memory: int
    ) -> "Served":
        """Collect the guide's draws and assess their weights."""

        def of_site(name: str) -> Callable[[Draws], Tensor]:
            return lambda part: part.latents[name]

        log_weights, *values = collected(
            parts, draws, lambda part: part.log_weights, *(of_site(name) for name in names)
        )
        log_weights = log_weights.double()
        latents = dict(zip(names, values, strict=True))
        columns = _columns(assess(log_weights, latents, memory), 0)
        columns["elbo"] = log_weights.mean(0)
        columns["elbo_error"] = mean_error(log_weights)
        return cls(latents, log_weights, columns, memory, columns["pareto_k"].clone())

    @property
    def draws(self) -> int:
        """Number of draws of each datapoint."""
        return len(self.log_weights)

    @property
    def good(self) -> Tensor:
        """Which datapoints need no better level, `(data,)`."""
        return self.columns["good"]

    @property
    def log_evidence(self) -> Tensor:
        """Log P(X) in nats, `(data,)`."""
        return self.columns["log_evidence"]

    def take(self, drawn: Weighted, target: Target) -> None:
        """Take weighted draws of some datapoints where they are better than those so far."""
        new = _columns(drawn.assessment, drawn.level)
        rank = new["pareto_k"].nan_to_num(nan=math.inf)
        better = new["good"] | (rank < self.rank[drawn.rows])
        rows = drawn.rows[better]
        if not len(rows):
            return
        self.rank[rows] = rank[better]
        for name, column in new.items():
            self.columns[name][rows] = column[better]
        # Annealed chains may be fewer than the draws; what is left has no weight.
        count = len(drawn.log_weights)
        self.log_weights[count:, rows] = -math.inf
        self.log_weights[:count, rows] = drawn.log_weights[:, better]
        for name, values in target.latents(drawn.vectors[:, better]).items():
            self.latents[name][:count, rows] = values.to(self.latents[name])

    def doubted(self, rows: Tensor) -> None:
        """Trust the guide's draws of some datapoints no more than any other level's."""
        self.rank[rows] = math.inf
        for name in ("good", "trusted"):
            self.columns[name][rows] = False


def _columns(assessed: Assessment, level: int) -> dict[str, Tensor]:
    return {
        "log_evidence": assessed.log_evidence,
        "log_evidence_error": assessed.error,
        "unseen": assessed.unseen,
        "unseen_shift": assessed.unseen_shift,
        "pareto_k": assessed.pareto_k,
        "effective_sample_size": assessed.effective_sample_size,
        "level": torch.full_like(assessed.pareto_k, level).long(),
        "trusted": assessed.trusted,
        "good": assessed.good,
    }
