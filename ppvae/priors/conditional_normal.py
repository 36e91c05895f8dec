"""A normal prior that depends on conditions."""

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from ppvae.distributions import positive, steady
from ppvae.priors.prior import Prior


class ConditionalNormal(Prior):
    """The prior p(z | y) = N(z; loc(y), diag(scale(y))^2), from a network of the conditions y.

    The network's last dimension holds `loc` and the raw scale side by side, and
    `scale = log(1 + exp(raw))` (Sohn, Lee and Yan, "Learning structured output representation
    using deep conditional generative models", 2015). The pair's batches are `(x, *conditions)`.

    Shapes: the network maps `(*, features)` to `(*, 2 * latent)`; it is called with all
    conditions.

    Args:
        network: module from conditions to `loc` and raw scale.

    Raises:
        TypeError: if `network` is not a module.
        ValueError: if there are no conditions, or the network's output cannot be halved.

    Example:
        >>> prior = ConditionalNormal(nn.Linear(3, 4))
        >>> given = prior(torch.zeros(8, 3))
        >>> given.batch_shape, given.event_shape
        (torch.Size([8]), torch.Size([2]))
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        if not isinstance(network, nn.Module):
            raise TypeError(
                "ConditionalNormal needs network to be a module from conditions to loc and raw "
                f"scale, got {network!r:.60}"
            )
        self.network = network

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(z | y) over `(latent,)` for every leading index of `conditions`."""
        if not conditions:
            raise ValueError(
                "ConditionalNormal needs at least one condition, got none; pass the pair batches "
                "(x, *conditions)"
            )
        output = steady(self.network(*conditions))
        if output.shape[-1] % 2:
            raise ValueError(
                "ConditionalNormal needs a network that gives loc and raw scale side by side, got "
                f"output of shape {tuple(output.shape)}"
            )
        loc, raw = torch.chunk(output, 2, -1)
        return dist.Normal(loc, positive(raw)).to_event(1)
