"""What an approximate posterior with parameters for each datapoint can do."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self, TypeAlias

import torch
from torch import Tensor

Values: TypeAlias = Mapping[str, Tensor]
"""Draws of every latent, `(draw, *plates, *event)`, the draws left of every plate of the pair."""


class Approximation(ABC):
    """A distribution of all latents whose parameters each datapoint has for itself."""

    @abstractmethod
    def offsets(self) -> list[Tensor]:
        """Return zeros of the shape of the coordinates in which it can be moved."""

    def of_rows(self, rows: Tensor) -> list[Tensor]:
        """Shape a mask of the datapoints, `(data,)`, so that it broadcasts against each offset.

        Offsets begin with the datapoints, unless the class says otherwise.
        """
        return [rows.reshape(-1, *(1,) * (offset.dim() - 1)) for offset in self.offsets()]

    @abstractmethod
    def moved(self, offsets: Sequence[Tensor]) -> Self:
        """Return it at other parameters; an offset of 1 moves it by about its own width."""

    @abstractmethod
    def rescaled(self) -> Self:
        """Return the same distribution, its coordinates measured by its present width."""

    @abstractmethod
    def rsample(self, draws: int) -> Values:
        """Return draws that gradients pass through."""

    @abstractmethod
    def log_prob(self, values: Values) -> Tensor:
        """Return the log density of all latents together in nats, `(draw, data)`."""


def moved_normal(loc: Tensor, factor: Tensor, offsets: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and factor of N(loc + L m, (L T) (L T)^T), T's diagonal in logarithms.

    Args:
        loc: `(data, value)`.
        factor: L, `(data, value, value)`.
        offsets: m and the triangle T, in units of the present distribution.
    """
    shift, triangle = offsets
    # A row's noise is the sum of its entries' noise: smaller steps keep it that of the mean.
    triangle = triangle / math.sqrt(triangle.shape[-1])
    logarithms = triangle.diagonal(dim1=-2, dim2=-1)
    turn = triangle.tril(-1) + torch.diag_embed(logarithms.exp())
    return loc + (factor @ shift.unsqueeze(-1)).squeeze(-1), factor @ turn
