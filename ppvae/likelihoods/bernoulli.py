"""Binary data."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ppvae.likelihoods.likelihood import Likelihood


class Bernoulli(Likelihood):
    """Independent binary features: p(x_i = 1 | z) = sigmoid(network(z)_i).

    Data outside {0, 1} are refused; `GrayBernoulli` scores gray pixels on request.

    Shapes: the network maps `(*, latent)` to logits `(*, features)`.

    Args:
        network: module from latent to logits.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> import torch
        >>> pixels = Bernoulli(torch.nn.Linear(2, 3))(torch.zeros(5, 2))
        >>> pixels.batch_shape, pixels.event_shape
        (torch.Size([5]), torch.Size([3]))
    """

    @property
    def support(self) -> constraints.Constraint:
        """Zero and one."""
        return constraints.boolean

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        return dist.Bernoulli(logits=self.network(*conditions)).to_event(self.event_dim)
