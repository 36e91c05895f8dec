"""A prior of shares that add up to one."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from ppvae.priors.prior import Prior


class LogisticNormal(Prior):
    """The normal prior of z whose shares softmax(z) are nearly Dirichlet(a).

    It is the Laplace approximation of that Dirichlet in the coordinates z (Hennig, Stern, Herbrich
    and Graepel, "Kernel topic models", 2012), with independent z:

        z_k ~ N(log a_k - sum_i log a_i / K, 1 / a_k)

    Shares do not change with the mean of z; without it z has the covariance of that paper.
    Srivastava and Sutton ("Autoencoding variational inference for topic models", 2017) take the
    diagonal of this, (1 - 2 / K) / a_k + sum_i 1 / a_i / K^2, and leave out that shares exclude
    each other; for many topics it is nearly the same. Small concentrations give shares of which
    few are large.

    Args:
        features: K, the number of shares.
        concentration: a, one number for all shares or one for each.

    Raises:
        ValueError: if `features` is below 2, or a concentration is not positive.

    Example:
        >>> prior = LogisticNormal(3, concentration=0.5)()
        >>> prior.mean.tolist(), round(prior.variance[0].item(), 4)
        ([0.0, 0.0, 0.0], 2.0)
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, features: int, concentration: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        if features < 2:
            raise ValueError(f"LogisticNormal needs features >= 2, got {features}")
        a = torch.as_tensor(concentration, dtype=torch.float64)
        if a.shape not in {(), (features,)} or not bool((a > 0).all()):
            raise ValueError(
                f"LogisticNormal needs a positive concentration, or {features} of them, got "
                f"{concentration}"
            )
        self.features, self.concentration = features, concentration
        a = a.expand(features)
        like = torch.get_default_dtype()
        self.register_buffer("loc", (a.log() - a.log().mean()).to(like), persistent=False)
        self.register_buffer("scale", a.rsqrt().to(like), persistent=False)

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z) over `(features,)`."""
        return dist.Normal(self.loc, self.scale).to_event(1)
