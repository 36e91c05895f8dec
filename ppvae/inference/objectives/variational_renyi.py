"""Renyi's bound."""

import math

from torch import Tensor

from ppvae.inference.objectives.particle_objective import ParticleObjective


class VariationalRenyi_ELBO(ParticleObjective):
    """The variational Renyi bound of log P(X), for each datapoint.

        1/(1 - alpha) E[log 1/K sum_k w_k^(1 - alpha)],    w_k = p(x, z_k) / q(z_k|x)

    of K draws z_k ~ q(z|x) (Li and Turner, "Renyi Divergence Variational Inference", 2016). With
    alpha = 0 it is the importance-weighted bound, with alpha to 1 the ELBO, and for alpha > 1 it
    lies lower, and the guide covers the posterior's tails less. For alpha < 0 it tends, as
    K grows, to more than log P(X), and is no bound. Scales stand outside the logarithm, unlike
    those of `pyro.infer.RenyiELBO`.

    Args:
        alpha: the order, not 1.
        num_particles: K.
        doubly_reparameterized: take the guide's gradient through the draws alone.
        vectorize_particles: as of `ImportanceWeighted_ELBO`.
        at_once: likewise.

    Raises:
        ValueError: if alpha is 1 or not finite, and as `ImportanceWeighted_ELBO` does.
        Unsupported: when called, as `ImportanceWeighted_ELBO`.

    Example:
        >>> import torch
        >>> VariationalRenyi_ELBO(2, num_particles=2).bound(torch.tensor([3.0, 3.0])).item()
        3.0
    """

    def __init__(
        self,
        alpha: float,
        num_particles: int,
        *,
        doubly_reparameterized: bool = False,
        vectorize_particles: bool = True,
        at_once: int | None = None,
    ) -> None:
        if alpha == 1 or not math.isfinite(alpha):
            raise ValueError(
                f"alpha must be finite and not 1, got {alpha}; with 1 it is pyro.infer.Trace_ELBO"
            )
        super().__init__(
            num_particles,
            path_gradient=doubly_reparameterized,
            vectorize_particles=vectorize_particles,
            at_once=at_once,
        )
        self.alpha = alpha

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return log mean w^(1 - alpha) / (1 - alpha)."""
        power = 1 - self.alpha
        return ((power * log_weights).logsumexp(0) - math.log(len(log_weights))) / power

    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return v_k = w_k^(1 - alpha) / sum_j w_j^(1 - alpha)."""
        return ((1 - self.alpha) * log_weights).softmax(0)

    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return alpha v_k + (1 - alpha) v_k^2."""
        if len(log_weights) == 1:
            return None
        v = self.coefficients(log_weights)
        return self.alpha * v + (1 - self.alpha) * v.square()
