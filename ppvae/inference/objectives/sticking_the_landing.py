"""The ELBO, with a gradient that vanishes where the guide is the posterior."""

import torch
from torch import Tensor

from ppvae.inference.objectives.particle_objective import ParticleObjective


class StickingTheLanding_ELBO(ParticleObjective):
    """The ELBO of `Trace_ELBO`, with the guide's gradient through the draws alone.

        E[d(log p(x, z) - log q(z|x))/dz dz/dphi]

    What it leaves out, E[d(log q(z|x))/dphi], is 0. As the guide comes near the posterior the
    noise of this gradient goes to 0, that of `Trace_ELBO` and of closed-form KL terms does not
    (Roeder, Wu and Duvenaud, "Sticking the Landing: Simple, Lower-Variance Gradient Estimators for
    Variational Inference", 2017). Only the gradient through log q's parameters is
    stopped; a `VampPrior` that shares them still receives its own gradient.

    Args:
        num_particles: draws of each datapoint, over which the ELBO is averaged.
        vectorize_particles: as of `ImportanceWeighted_ELBO`.
        at_once: likewise.

    Raises:
        ValueError: if a number is not positive.
        Unsupported: when called, if a latent of the guide is not reparameterized, is rounded, or
            has a support or log density of its own parameters.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ppvae.fit(pair, digits, epochs=1, objective=StickingTheLanding_ELBO()).steps
        12
    """

    def __init__(
        self,
        num_particles: int = 1,
        *,
        vectorize_particles: bool = True,
        at_once: int | None = None,
    ) -> None:
        super().__init__(
            num_particles,
            path_gradient=True,
            vectorize_particles=vectorize_particles,
            at_once=at_once,
        )

    @property
    def linear(self) -> bool:
        """Return True."""
        return True

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the mean of log w."""
        return log_weights.mean(0)

    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return 1 / K."""
        return torch.full_like(log_weights, 1 / len(log_weights))

    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return None: all of it remains."""
        return None
