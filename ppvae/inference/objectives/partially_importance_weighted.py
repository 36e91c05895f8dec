"""One bound for the model, one for the guide."""

from torch import Tensor

from ppvae.inference.objectives.importance_weighted import ImportanceWeighted_ELBO
from ppvae.inference.objectives.particle_objective import ParticleObjective


class PartiallyImportanceWeighted_ELBO(ParticleObjective):
    """The importance-weighted bound of all draws for the model, of a few for the guide (PIWAE).

        model:  log 1/(M K) sum_mk w_mk
        guide:  1/M sum_m log 1/K sum_k w_mk,    w = p(x, z) / q(z|x)

    (Rainforth et al., "Tighter Variational Bounds Are Not Necessarily Better", 2018): the model
    climbs the tight bound, the guide the one whose gradient has less noise. The loss is the
    model's. Parameters that both share get both gradients, each by its use.

    Args:
        num_particles: K, of each of the guide's bounds.
        repeats: M, how many of these there are.
        doubly_reparameterized: derive by the guide's parameters through the draws alone.
        vectorize_particles: as of `ImportanceWeighted_ELBO`.
        at_once: likewise.

    Raises:
        ValueError: as `ImportanceWeighted_ELBO` does, and if a latent of the guide is not
            reparameterized.

    Example:
        >>> import torch
        >>> both = PartiallyImportanceWeighted_ELBO(1, repeats=2)
        >>> log_weights = torch.tensor([0.0, 2.0])
        >>> round(both.bound(log_weights).item(), 4), both.guide_bound(log_weights).item()
        (1.4338, 1.0)
    """

    apart = True

    def __init__(
        self,
        num_particles: int,
        *,
        repeats: int,
        doubly_reparameterized: bool = False,
        vectorize_particles: bool = True,
        at_once: int | None = None,
    ) -> None:
        self._of_guide = ImportanceWeighted_ELBO(num_particles, repeats=repeats)
        self._of_model = ImportanceWeighted_ELBO(num_particles * repeats)
        super().__init__(
            num_particles * repeats,
            path_gradient=doubly_reparameterized,
            vectorize_particles=vectorize_particles,
            at_once=at_once,
        )

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the model's bound."""
        return self._of_model.bound(log_weights)

    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return its derivatives."""
        return self._of_model.coefficients(log_weights)

    def guide_bound(self, log_weights: Tensor) -> Tensor:
        """Return the guide's bound."""
        return self._of_guide.bound(log_weights)

    def guide_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return its derivatives."""
        return self._of_guide.coefficients(log_weights)

    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return what remains of these through the draws."""
        squares = self._of_guide.path_coefficients(log_weights)
        return self._of_guide.coefficients(log_weights) if squares is None else squares
