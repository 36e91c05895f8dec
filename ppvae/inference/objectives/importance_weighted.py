"""The importance-weighted bound."""

import math

from torch import Tensor

from ppvae.inference.objectives.particle_objective import ParticleObjective


class ImportanceWeighted_ELBO(ParticleObjective):
    """The importance-weighted bound of log P(X), for each datapoint (IWAE).

        L_K = E[log 1/K sum_k w_k],    w_k = p(x, z_k) / q(z_k|x),    ELBO = L_1 <= L_K <= log P(X)

    of K draws z_k ~ q(z|x) (Burda, Grosse and Salakhutdinov, "Importance Weighted Autoencoders",
    2016). The scale of the data, that of `plate(size, subsample_size)` and of `poutine.scale`
    around all sites, stands outside the logarithm, so that it stays a bound on minibatches.

    The signal-to-noise ratio of the guide's gradient falls with K; that of the doubly
    reparameterized one, which has the same expectation, rises: it runs through the draws alone,

        E[sum_k v_k^2 d(log w_k)/dz dz/dphi],    v_k = w_k / sum_j w_j

    (Tucker, Lawson, Gu and Maddison, "Doubly Reparameterized Gradient Estimators for Monte Carlo
    Objectives", 2019). It needs every latent of the guide reparameterized, and a support that does
    not depend on the parameters. Where log q weighs beta, as under a `kl_weight`, v^2 becomes
    (1 - beta) v + beta v^2, with the same beta for all latents.

    The mean of M such bounds of K draws each, `repeats`, is the multiply weighted one (MIWAE;
    Rainforth et al., "Tighter Variational Bounds Are Not Necessarily Better", 2018).

    Discrete latents of the guide are learned by their score with the other draws as control
    variate (Mnih and Rezende, "Variational inference for Monte Carlo objectives", 2016); those of
    the model alone are summed out. A `kl_weight` of `fit` weighs the latents' densities within
    the logarithm.

    Args:
        num_particles: K.
        repeats: M.
        doubly_reparameterized: derive by the guide's parameters in this way.
        vectorize_particles: draw all at once, in a plate left of all others; else one after the
            other, for networks that take a single batch dimension.
        at_once: how many of the K M draws are in memory at once; all, unless given. Fewer cost
            one more run, without gradients, and are not compiled.

    Raises:
        ValueError: if a number is not positive; when called, if the pair does not allow it, by
            site.

    Example:
        >>> import ppvae
        >>> from ppvae import data, pairs
        >>> digits = data.digits()
        >>> pair = pairs.assemble(digits, latent=2)
        >>> ppvae.fit(pair, digits, epochs=1, objective=ImportanceWeighted_ELBO(5)).steps
        12
    """

    def __init__(
        self,
        num_particles: int,
        *,
        repeats: int = 1,
        doubly_reparameterized: bool = False,
        vectorize_particles: bool = True,
        at_once: int | None = None,
    ) -> None:
        if num_particles < 1 or repeats < 1:
            raise ValueError(
                "ImportanceWeighted_ELBO needs num_particles and repeats of at least 1, got "
                f"{num_particles} and {repeats}"
            )
        super().__init__(
            num_particles * repeats,
            path_gradient=doubly_reparameterized,
            vectorize_particles=vectorize_particles,
            at_once=at_once,
        )
        self.repeats = repeats

    @property
    def linear(self) -> bool:
        """It is, of bounds of one draw each."""
        return bool(self.num_particles == self.repeats)

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the mean over M of log mean w over K."""
        grouped = self._grouped(log_weights)
        bounds: Tensor = grouped.logsumexp(1) - math.log(grouped.shape[1])
        return bounds.mean(0)

    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return v_k / M."""
        return self._shares(log_weights).flatten(0, 1) / self.repeats

    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return v_k^2 / M."""
        if self.linear:
            return None  # v is 1
        return self._shares(log_weights).square().flatten(0, 1) / self.repeats

    def _shares(self, log_weights: Tensor) -> Tensor:
        return self._grouped(log_weights).softmax(1)

    def _grouped(self, log_weights: Tensor) -> Tensor:
        grouped: Tensor = log_weights.unflatten(0, (self.repeats, -1))
        return grouped
