"""A posterior on the unit sphere."""

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from ppvae import distributions
from ppvae.posteriors.posterior import Posterior

_MOST = 1e9  # concentration up to which the density is accurate in single precision


class PowerSpherical(Posterior):
    """The posterior q(z|x) proportional to (1 + loc(x).z)^k(x) on the unit sphere.

    The network's last dimension holds a nonzero vector in the direction of `loc` and the raw
    concentration, k = least + log(1 + exp(raw)) (De Cao and Aziz, "The power spherical
    distribution", 2020). Its KL to `priors.UniformSphere` has a closed form, which `kl_divergence`
    returns.

    Near k = 0 the draws carry no information and the gradients of both `loc` and raw vanish:
    training gets stuck there with unused latents. So k has a least value, as in the code
    published with Davidson et al., "Hyperspherical variational auto-encoders", 2018. A datapoint
    that needs no latent then still has the KL of k = 1, 0.19 nats on S^2.

    Its density falls to zero opposite to `loc`, so importance weights are unbounded even if it
    fits well elsewhere; `pareto_k` measures the effect for each datapoint.

    Shapes: the network maps `(*, features)` to `(*, latent + 1)`.

    Args:
        network: module from data to direction and raw concentration.
        least: the least concentration; with 0, q(z|x) can be the uniform distribution.

    Raises:
        ValueError: if `least` is negative, or the network has fewer than three outputs; with
            validation on, also if a direction is zero.

    Example:
        >>> posterior = PowerSpherical(torch.nn.Linear(4, 3 + 1))
        >>> posterior(torch.zeros(8, 4)).sample().norm(dim=-1).round(decimals=4).unique()
        tensor([1.])
    """

    def __init__(self, network: nn.Module, least: float = 1.0) -> None:
        super().__init__(network)
        if not least >= 0:
            raise ValueError(f"PowerSpherical needs least >= 0, got {least}")
        self.least = least

    @property
    def support(self) -> constraints.Constraint:
        """The unit sphere."""
        return constraints.sphere

    def outputs_for(self, latent: int) -> int:
        """Return latent + 1."""
        return latent + 1

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        output = distributions.steady(self.network(*conditions))
        if output.shape[-1] < 3:
            raise ValueError(
                "PowerSpherical needs a network of latent + 1 outputs, latent >= 2, got output of "
                f"shape {tuple(output.shape)}"
            )
        direction, raw = output[..., :-1], output[..., -1]
        loc = direction / torch.linalg.vector_norm(direction, dim=-1, keepdim=True)
        return distributions.PowerSpherical(
            loc, self.least + distributions.positive(raw, most=_MOST)
        )
