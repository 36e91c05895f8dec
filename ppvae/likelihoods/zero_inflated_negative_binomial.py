"""Counts with extra zeros."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ppvae import distributions
from ppvae.likelihoods.counts import Counts


class _ZeroInflated(dist.ZeroInflatedDistribution):  # type: ignore[misc]
    """Pyro's, whose log density adds the logit of the gate and subtracts it again.

    So it loses the digits of the counts' own log density where the logit is large.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        counted = logsigmoid(-self.gate_logits) + self.base_dist.log_prob(value)
        zero = torch.logaddexp(logsigmoid(self.gate_logits), counted)
        return torch.where(value == 0, zero, counted)


class ZeroInflatedNegativeBinomial(Counts):
    """Independent counts that are zero with probability g, negative binomial otherwise.

    p(x_i | z) = g [x_i = 0] + (1 - g) NegativeBinomial(x_i; m, r), as counts of single cells are
    modeled (Lopez et al., "Deep generative modeling for single-cell transcriptomics", 2018).
    log m = log s + log_mean(z); log_mean, the raw r and the logit of g come from the network. The
    size s is 1 unless it is observed.

    Shapes: the network maps `(*, latent)` to `log_mean`, the raw `r` and the logit of `g` side by
    side, along the first dimension of the datapoint.

    Args:
        network: module from latent to log mean, raw r and logit of g.
        event_dim: number of dimensions of one datapoint.
        size: the factor of the means; `ObservedSize()` takes it from the batch.

    Example:
        >>> import torch
        >>> counts = ZeroInflatedNegativeBinomial(torch.nn.Identity())(torch.zeros(3))
        >>> bool(counts.log_prob(torch.zeros(1)).exp() > 0.5)
        True
    """

    @property
    def outputs_per_feature(self) -> int:
        """Log mean, raw r and the logit of g."""
        return 3

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        conditions, log_size = self.size(conditions, self.event_dim)
        log_mean, raw, gate = self.outputs(*conditions)
        counts = distributions.NegativeBinomial(
            self.held_log_mean(log_mean + log_size), distributions.positive(raw)
        )
        return _ZeroInflated(counts, gate_logits=gate).to_event(self.event_dim)
