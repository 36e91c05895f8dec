"""Counts with extra zeros."""

from typing import ClassVar

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from ppvae.likelihoods.counts import Counts


class _ZeroInflatedNegativeBinomial(dist.ZeroInflatedNegativeBinomial):  # type: ignore[misc]
    """Pyro's, without the check of `probs`, which round to 1 for large means and small r."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {
        name: constraint
        for name, constraint in dist.ZeroInflatedNegativeBinomial.arg_constraints.items()
        if name != "probs"
    }


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
        r = softplus(raw)
        logits = log_mean + log_size - r.log()
        counts = _ZeroInflatedNegativeBinomial(r, logits=logits, gate_logits=gate)
        return counts.to_event(self.event_dim)
