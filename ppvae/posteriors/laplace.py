"""A mean-field posterior with a sharp peak."""

import pyro.distributions as dist
from torch import Tensor

from ppvae.distributions import positive
from ppvae.posteriors.posterior import Posterior


class Laplace(Posterior):
    """The factorized Laplace posterior q(z|x) = prod_i exp(-|z_i - loc_i| / b_i) / (2 b_i).

    The network's last dimension holds `loc` and the raw `b` side by side, b = log(1 + exp(raw)).

    Shapes: the network maps `(*, features)` to `(*, 2 * latent)`.

    Args:
        network: module from data to `loc` and raw `b`.

    Raises:
        ValueError: if the network's output cannot be halved.

    Example:
        >>> import torch
        >>> Laplace(torch.nn.Linear(4, 6))(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    @property
    def outputs_per_feature(self) -> int:
        """Loc and raw b."""
        return 2

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        loc, raw = self.outputs(*conditions)
        return dist.Laplace(loc, positive(raw)).to_event(1)
