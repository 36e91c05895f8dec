"""The normal distribution of the highest ELBO over each datapoint's latents as one vector."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ppvae.refinement.approximations import Approximation, Values, moved_normal
from ppvae.refinement.elbo_maximization import STAGES, maximize_elbo
from ppvae.refinement.targets import Target

_PARTICLES, _RATE = 8, 0.1
_VECTOR = "u"


@dataclass(frozen=True)
class VectorNormal(Approximation):
    """N(loc, L L^T) of one vector per datapoint.

    Args:
        loc: `(data, value)`.
        factor: L, `(data, value, value)`.
    """

    loc: Tensor
    factor: Tensor

    def offsets(self) -> list[Tensor]:
        """Return zeros: a mean and a lower triangle, in units of the present distribution."""
        return [torch.zeros_like(self.loc), torch.zeros_like(self.factor)]

    def moved(self, offsets: Sequence[Tensor]) -> Self:
        """Return N(loc + L m, (L T) (L T)^T), T of the offsets, its diagonal in logarithms."""
        loc, factor = moved_normal(self.loc, self.factor, offsets)
        return replace(self, loc=loc, factor=factor)

    def rescaled(self) -> Self:
        """Return it unchanged: its offsets are in units of its own width already."""
        return self

    def rsample(self, draws: int) -> Values:
        """Return draws that gradients pass through."""
        return {_VECTOR: self._normal().rsample((draws,))}

    def log_prob(self, values: Values) -> Tensor:
        """Return the log density, `(draw, data)`."""
        found: Tensor = self._normal().log_prob(values[_VECTOR])
        return found

    def _normal(self) -> MultivariateNormal:
        return MultivariateNormal(self.loc, scale_tril=self.factor, validate_args=False)


def fit_normal(target: Target, loc: Tensor, factor: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Return mean and factor of the normal of the highest ELBO, from those given.

    Args:
        target: log p(x, u).
        loc: `(data, value)`.
        factor: L with the covariance L L^T, `(data, value, value)`.
        steps: of the optimization.
    """
    best = VectorNormal(loc, factor)
    for stage in maximize_elbo(
        best,
        lambda values: target.log_joint(values[_VECTOR]),
        steps=max(steps, 2 * STAGES),
        particles=_PARTICLES,
        learning_rate=_RATE,
    ):
        best = stage
    finite = best.loc.isfinite().all(-1) & best.factor.isfinite().all(-1).all(-1)
    return (
        torch.where(finite[:, None], best.loc, loc),
        torch.where(finite[:, None, None], best.factor, factor),
    )
