"""Between the ELBO and the importance-weighted bound."""

from torch import Tensor

from ppvae.inference.objectives.importance_weighted import ImportanceWeighted_ELBO


class CombinedImportanceWeighted_ELBO(ImportanceWeighted_ELBO):
    """A bound between the ELBO and the importance-weighted one of the same draws (CIWAE).

        beta mean_k l_k + (1 - beta) log mean_k exp(l_k),    l_k = log p(x, z_k) - log q(z_k|x)

    (Rainforth et al., "Tighter Variational Bounds Are Not Necessarily Better", 2018): the first
    part keeps the guide's gradient from drowning in noise as the number of draws grows.

    Args:
        num_particles: K.
        elbo_weight: beta, in [0, 1].
        doubly_reparameterized: derive by the guide's parameters through the draws alone.
        vectorize_particles: as of `ImportanceWeighted_ELBO`.
        at_once: likewise.

    Raises:
        ValueError: if beta is outside [0, 1], and as `ImportanceWeighted_ELBO` does.

    Example:
        >>> import torch
        >>> halfway = CombinedImportanceWeighted_ELBO(2, elbo_weight=0.5)
        >>> round(halfway.bound(torch.tensor([0.0, 2.0])).item(), 4)
        1.2169
    """

    def __init__(
        self,
        num_particles: int,
        *,
        elbo_weight: float,
        doubly_reparameterized: bool = False,
        vectorize_particles: bool = True,
        at_once: int | None = None,
    ) -> None:
        if not 0 <= elbo_weight <= 1:
            raise ValueError(f"elbo_weight must be in [0, 1], got {elbo_weight}")
        super().__init__(
            num_particles,
            doubly_reparameterized=doubly_reparameterized,
            vectorize_particles=vectorize_particles,
            at_once=at_once,
        )
        self.elbo_weight = elbo_weight

    @property
    def linear(self) -> bool:
        """It is, where the ELBO has all the weight."""
        return super().linear or self.elbo_weight == 1

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the weighted mean of both bounds."""
        importance_weighted, mean = super().bound(log_weights), log_weights.mean(0)
        if self.elbo_weight in (0, 1):  # a part of no weight may be infinite
            return mean if self.elbo_weight else importance_weighted
        return importance_weighted + self.elbo_weight * (mean - importance_weighted)

    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return beta / K + (1 - beta) v_k."""
        return self._mixed(super().coefficients(log_weights))

    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return beta / K + (1 - beta) v_k^2."""
        squares = super().path_coefficients(log_weights)
        return None if squares is None else self._mixed(squares)

    def _mixed(self, coefficients: Tensor) -> Tensor:
        equal: float = self.elbo_weight / self.num_particles
        return equal + (1 - self.elbo_weight) * coefficients
