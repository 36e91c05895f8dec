"""What a pair says of missing cells, given those of their row that are known."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImputedCells:
    """Datapoints with their missing cells filled in; where a cell is known, all say its value.

    Args:
        value: E[x|x_seen], of categories the most probable one, `(data, *event)`.
        low: the ends of the intervals from below, `(data, *event)`.
        high: those from above.
        probability: of the most probable category, NaN of numbers, `(data, *event)`.
        draws: of all missing cells of a row together, `(imputation, data, *event)`; no
            imputations unless asked for.
        effective_sample_size: how many equally weighted draws the weighted ones of a row stand
            for, `(data,)`; where it is small, intervals are too narrow.
    """

    value: Tensor
    low: Tensor
    high: Tensor
    probability: Tensor
    draws: Tensor
    effective_sample_size: Tensor

    @classmethod
    def of(cls, features: Mapping[str, Tensor], filled: Tensor, known: Tensor) -> Self:
        """Put what is predicted of all cells where they are missing.

        Args:
            features: `value`, `low`, `high` and `probability`, `(data, features)`, `imputed`,
                `(data, imputation, features)`, and `effective_sample_size`, `(data,)`.
            filled: the datapoints, `(data, *event)`, with any value in their missing cells.
            known: which cells are known, of the same shape.
        """

        def completed(cells: Tensor) -> Tensor:
            shape = (*cells.shape[:-1], *filled.shape[1:])
            return torch.where(known, filled, cells.reshape(shape).to(filled))

        none = filled.new_empty(len(filled), 0, known[0].numel())
        return cls(
            completed(features["value"]),
            completed(features["low"]),
            completed(features["high"]),
            completed(features["probability"]).masked_fill(known, torch.nan),
            completed(features.get("imputed", none).transpose(0, 1)),
            features["effective_sample_size"],
        )


class RefinedDraws(Protocol):
    """What `impute` reads of what `ppvae.refine` returns."""

    @property
    def weighted(self) -> Mapping[str, Tensor]:
        """Draws of the latents, `(draw, data, ...)`, by site."""

    @property
    def log_weights(self) -> Tensor:
        """Their log weights, `(draw, data)`."""
