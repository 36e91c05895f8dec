"""The mean-field posterior."""

import pyro.distributions as dist
from torch import Tensor

from ppvae.distributions import positive
from ppvae.posteriors.posterior import Posterior


class DiagonalNormal(Posterior):
    """The mean-field normal posterior q(z|x) = N(z; loc(x), diag(scale(x))^2).

    The network's last dimension holds `loc` and the raw scale side by side, and
    `scale = log(1 + exp(raw))` (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014).

    Shapes: the network maps `(*, features)` to `(*, 2 * latent)`.

    Args:
        network: module from data to `loc` and raw scale.

    Raises:
        ValueError: if the network's output cannot be halved.

    Example:
        >>> import torch
        >>> posterior = DiagonalNormal(torch.nn.Linear(4, 6))
        >>> posterior(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    @property
    def outputs_per_feature(self) -> int:
        """Loc and raw scale."""
        return 2

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        loc, raw_scale = self.outputs(*conditions)
        return dist.Normal(loc, positive(raw_scale)).to_event(1)
