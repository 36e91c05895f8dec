"""Counts with more zeros than their family has."""

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import softplus

from ppvae.likelihoods.likelihood import Likelihood


class ZeroInflatedNegativeBinomial(Likelihood):
    """Independent counts that are zero with probability g, negative binomial otherwise.

    p(x_i | z) = g [x_i = 0] + (1 - g) NegativeBinomial(x_i; m, r), as counts of single cells are
    modelled (Lopez et al., "Deep generative modeling for single-cell transcriptomics", 2018).
    log m, the raw r and the logit of g come from the network.

    Shapes: the network maps `(*, latent)` to `log m`, the raw `r` and the logit of `g` side by
    side, along the first dimension of the datapoint.

    Args:
        network: module from latent to log mean, raw r and logit of g.
        event_dim: number of dimensions of one datapoint.

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

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 on."""
        return constraints.nonnegative_integer

    def forward(self, *conditions: Tensor) -> dist.Distribution:
        """Return p(x|z) over one datapoint."""
        log_mean, raw, gate = self.outputs(*conditions)
        r = softplus(raw)
        counts = dist.ZeroInflatedNegativeBinomial(r, logits=log_mean - r.log(), gate_logits=gate)
        return counts.to_event(self.event_dim)
