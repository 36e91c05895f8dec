"""A learned prior: a mixture of the posterior at learned datapoints."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.posteriors import Posterior
from ppvae.priors.prior import Prior
from ppvae.priors.pseudo_inputs import PseudoInputs


class VampPrior(Prior):
    """The mixture p(z) = 1/K sum_k q(z | u_k) of the posteriors at K learned pseudo-inputs u_k.

    It approximates the aggregate posterior, the prior that maximizes the ELBO (Tomczak and
    Welling, "VAE with a VampPrior", 2018). The posterior must be the pair's own module, so that
    encoder and prior are trained together. Given conditions y, vectors `(*, features)`, the
    prior is p(z | y) = 1/K sum_k q(z | u_k, y).

    Args:
        posterior: q(z|x), the pair's own.
        pseudo_inputs: the u_k.

    Raises:
        TypeError: if an argument has the wrong class.
        ValueError: when called, if the posterior does not return one distribution for each u_k.

    Example:
        >>> import torch
        >>> from ppvae import VAE, likelihoods, posteriors
        >>> posterior = posteriors.DiagonalNormal(torch.nn.Linear(4, 6))
        >>> pair = VAE(
        ...     prior=VampPrior(posterior, PseudoInputs((4,), components=10, bounds=(0, 1))),
        ...     likelihood=likelihoods.Bernoulli(torch.nn.Linear(3, 4)),
        ...     posterior=posterior,
        ... )
        >>> pair.prior().sample((5,)).shape
        torch.Size([5, 3])
    """

    def __init__(self, posterior: Posterior, pseudo_inputs: PseudoInputs) -> None:
        super().__init__()
        for name, value, kind in (
            ("posterior", posterior, Posterior),
            ("pseudo_inputs", pseudo_inputs, PseudoInputs),
        ):
            if not isinstance(value, kind):
                raise TypeError(
                    f"VampPrior needs {name} to be a {kind.__module__}.{kind.__name__}, got "
                    f"{type(value).__name__}"
                )
        self.posterior = posterior
        self.pseudo_inputs = pseudo_inputs

    @property
    def support(self) -> constraints.Constraint:
        """That of the posterior."""
        return self.posterior.support

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(latent,)`, or p(z | y) for every leading index of `conditions`."""
        beside = [condition.unsqueeze(-2) for condition in conditions]
        points = self.pseudo_inputs()
        posteriors = self.posterior(points, *beside)
        batch, leading = posteriors.batch_shape, max((c.dim() - 1 for c in conditions), default=0)
        if batch[-1:] != (len(points),) or len(batch) > 1 + leading:
            # torch takes the last batch dimension as the mixture's components, whatever it is.
            raise ValueError(
                f"VampPrior needs a posterior for each of its {len(points)} pseudo-inputs, under "
                f"the leading dimensions of conditions (*, features), got a batch {tuple(batch)} "
                f"of pseudo-inputs {tuple(points.shape[1:])} and conditions "
                f"{[tuple(condition.shape) for condition in conditions]}"
            )
        equal = points.new_zeros(posteriors.batch_shape)
        return dist.MixtureSameFamily(dist.Categorical(logits=equal), posteriors)
