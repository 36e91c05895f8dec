"""A normal posterior with a low-rank covariance."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions import positive
from ppvae.posteriors.posterior import Posterior


class LowRankNormal(Posterior):
    """The normal posterior q(z|x) = N(z; loc, W W^T + diag(scale)^2), with W of few columns.

    The network's last dimension holds `loc`, the raw scale, `scale = log(1 + exp(raw))`, and the
    columns of W, side by side (Ong, Nott and Smith, "Gaussian variational approximation with a
    factor covariance structure", 2018). Its KL to a factorized normal has a closed form, which
    `kl_divergence` returns.

    Shapes: the network maps `(*, features)` to `(*, (2 + rank) * latent)`.

    Args:
        network: module from data to `loc`, raw scale and W.
        rank: number of columns of W.

    Raises:
        ValueError: if `rank` is not positive, or the network's output cannot be split so.

    Example:
        >>> posterior = LowRankNormal(nn.Linear(4, 9), rank=1)
        >>> posterior(torch.zeros(8, 4)).event_shape
        torch.Size([3])
    """

    def __init__(self, network: nn.Module, rank: int = 1) -> None:
        super().__init__(network)
        if rank < 1:
            raise ValueError(f"LowRankNormal needs rank >= 1, got {rank}")
        self.rank = rank

    @property
    def outputs_per_feature(self) -> int:
        """Loc, raw scale, and one number for each column of W."""
        return 2 + self.rank

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return q(z|x) over `(latent,)` for every leading index of `conditions`."""
        loc, raw, *columns = self.outputs(*conditions)
        factor, eps = torch.stack(columns, -1), torch.finfo(raw.dtype).eps
        # With smaller scales, rounding of the draws would decide on their density.
        diagonal = torch.maximum(positive(raw), 4 * eps * loc.abs()).square()
        # Beyond that share of W W^T, rounding would make I + W^T diag(scale)^-2 W singular.
        largest = 1 / (4 * self.rank * eps)
        share = (factor.square().sum(-1) / diagonal).sum(-1, keepdim=True) / largest
        return dist.LowRankMultivariateNormal(loc, factor, diagonal * share.clamp(min=1))
