"""Counts whose variance exceeds their mean."""

import pyro.distributions as dist
from torch import Tensor

from ppvae import distributions
from ppvae.likelihoods.counts import Counts


class NegativeBinomial(Counts):
    """Independent counts of mean m and variance m + m^2 / r.

    p(x_i | z) = Gamma(x_i + r) / (Gamma(r) x_i!) (r / (r + m))^r (m / (r + m))^x_i, with
    log m = log s + log_mean(z); log_mean and raw r from the network, r = log(1 + exp(raw)). The
    size s is 1 unless it is observed. As r grows, it tends to Poisson.

    Shapes: the network maps `(*, latent)` to `log_mean` and the raw `r` side by side, along the
    first dimension of the datapoint.

    Args:
        network: module from latent to log mean and raw r.
        event_dim: number of dimensions of one datapoint.
        size: the factor of the means; `ObservedSize()` takes it from the batch.

    Example:
        >>> import torch
        >>> counts = NegativeBinomial(torch.nn.Identity())(torch.tensor([1.0, 0.0]))
        >>> round(counts.mean.log().item(), 4)
        1.0
    """

    @property
    def outputs_per_feature(self) -> int:
        """Log mean and raw r."""
        return 2

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        conditions, log_size = self.size(conditions, self.event_dim)
        log_mean, raw = self.outputs(*conditions)
        counts = distributions.NegativeBinomial(
            self.held_log_mean(log_mean + log_size), distributions.positive(raw)
        )
        return counts.to_event(self.event_dim)
