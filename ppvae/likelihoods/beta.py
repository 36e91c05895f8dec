"""Shares strictly between 0 and 1."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import logsigmoid

from ppvae.data import open_unit_interval
from ppvae.distributions import exponential, positive
from ppvae.likelihoods.likelihood import Likelihood

_MOST = 1e10  # concentration; above, double precision loses digits of the log density too


class _Beta(dist.Beta):  # type: ignore[misc]
    support = open_unit_interval  # at 0 and 1 the density is 0 or infinite

    def log_prob(self, value: Tensor) -> Tensor:
        """Return torch's, in double precision: its terms cancel at large concentrations."""
        if self._validate_args:
            self._validate_sample(value)
        x, a, b = value.double(), self.concentration1.double(), self.concentration0.double()
        log_norm = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
        exact: Tensor = (a - 1) * x.log() + (b - 1) * torch.log1p(-x) - log_norm
        return exact.to(self.concentration1.dtype)


class Beta(Likelihood):
    """Independent features in (0, 1): p(x_i | z) = Beta(x_i; m k, (1 - m) k).

    The mean m = sigmoid(first output) and the concentration k = log(1 + exp(raw)) both come from
    the network (Ferrari and Cribari-Neto, "Beta regression for modeling rates and proportions",
    2004).

    Shapes: the network maps `(*, latent)` to the logit of `m` and the raw `k` side by side, along
    the first dimension of the datapoint.

    Args:
        network: module from latent to logit of the mean and raw concentration.
        event_dim: number of dimensions of one datapoint.

    Example:
        >>> shares = Beta(torch.nn.Identity())(torch.tensor([0.0, 3.0]))
        >>> shares.mean.item()
        0.5
    """

    @property
    def outputs_per_feature(self) -> int:
        """Logit of the mean and raw concentration."""
        return 2

    @property
    def support(self) -> constraints.Constraint:
        """The numbers between 0 and 1, both excluded."""
        return open_unit_interval

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        logit, raw = self.outputs(*conditions)
        log_concentration = positive(raw, most=_MOST).log()
        a, b = (exponential(logsigmoid(side) + log_concentration) for side in (logit, -logit))
        return _Beta(a, b).to_event(self.event_dim)
