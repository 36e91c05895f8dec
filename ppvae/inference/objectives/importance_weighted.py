"""The importance-weighted bound, and two between it and the ELBO."""

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
        doubly_reparameterized: take this gradient of the guide's parameters.
        vectorize_particles: draw all at once, in a plate left of all others; else one after the
            other, for networks that take a single batch dimension.
        at_once: how many of the K M draws are in memory at once; by default all. Fewer need one
            more run, without gradients, and are not compiled.

    Raises:
        ValueError: if a number is not positive.
        Unsupported: when called, if the pair does not allow it; the message names the site.

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
        """Whether each bound has one draw."""
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


class CombinedImportanceWeighted_ELBO(ParticleObjective):
    """A bound between the ELBO and the importance-weighted one of the same draws (CIWAE).

        beta mean_k l_k + (1 - beta) log mean_k exp(l_k),    l_k = log p(x, z_k) - log q(z_k|x)

    (Rainforth et al., "Tighter Variational Bounds Are Not Necessarily Better", 2018): the first
    part keeps the guide's gradient from drowning in noise as the number of draws grows.

    Args:
        num_particles: K.
        elbo_weight: beta, in [0, 1].
        doubly_reparameterized: take the guide's gradient through the draws alone.
        vectorize_particles: as of `ImportanceWeighted_ELBO`.
        at_once: likewise.

    Raises:
        ValueError: if beta is outside [0, 1], and as `ImportanceWeighted_ELBO` does.
        Unsupported: when called, as `ImportanceWeighted_ELBO`.

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
        self._importance_weighted = ImportanceWeighted_ELBO(num_particles)
        super().__init__(
            num_particles,
            path_gradient=doubly_reparameterized,
            vectorize_particles=vectorize_particles,
            at_once=at_once,
        )
        self.elbo_weight = elbo_weight

    @property
    def linear(self) -> bool:
        """Whether there is one draw, or the ELBO has all the weight."""
        return self._importance_weighted.linear or self.elbo_weight == 1

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the weighted mean of both bounds."""
        importance_weighted = self._importance_weighted.bound(log_weights)
        mean = log_weights.mean(0)
        if self.elbo_weight in (0, 1):  # a part of no weight may be infinite
            return mean if self.elbo_weight else importance_weighted
        return importance_weighted + self.elbo_weight * (mean - importance_weighted)

    def coefficients(self, log_weights: Tensor) -> Tensor:
        """Return beta / K + (1 - beta) v_k."""
        return self._mixed(self._importance_weighted.coefficients(log_weights))

    def path_coefficients(self, log_weights: Tensor) -> Tensor | None:
        """Return beta / K + (1 - beta) v_k^2."""
        squares = self._importance_weighted.path_coefficients(log_weights)
        return None if squares is None else self._mixed(squares)

    def _mixed(self, coefficients: Tensor) -> Tensor:
        equal: float = self.elbo_weight / self.num_particles
        return equal + (1 - self.elbo_weight) * coefficients


class PartiallyImportanceWeighted_ELBO(ParticleObjective):
    """The importance-weighted bound of all draws for the model, of a few for the guide (PIWAE).

        model:  log 1/(M K) sum_mk w_mk
        guide:  1/M sum_m log 1/K sum_k w_mk,    w = p(x, z) / q(z|x)

    (Rainforth et al., "Tighter Variational Bounds Are Not Necessarily Better", 2018): the model
    maximizes the tight bound, the guide the one whose gradient has less noise. The loss is the
    model's. Parameters that both use get the sum of both gradients.

    Args:
        num_particles: K, of each of the guide's bounds.
        repeats: M, how many of these there are.
        doubly_reparameterized: take the guide's gradient through the draws alone.
        vectorize_particles: as of `ImportanceWeighted_ELBO`.
        at_once: likewise.

    Raises:
        ValueError: as `ImportanceWeighted_ELBO` does.
        Unsupported: when called, as `ImportanceWeighted_ELBO`, and if a latent of the guide is not
            reparameterized.

    Example:
        >>> import torch
        >>> both = PartiallyImportanceWeighted_ELBO(1, repeats=2)
        >>> log_weights = torch.tensor([0.0, 2.0])
        >>> round(both.bound(log_weights).item(), 4), both.guide_bound(log_weights).item()
        (1.4338, 1.0)
    """

    separate_bounds = True

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
