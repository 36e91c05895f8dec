import numpy as np
import torch
from scipy import stats
from torch import nn

from ppvae import likelihoods


def test_large_means_over_small_r_are_no_error():
    """Success has a probability then that rounds to one."""
    output = torch.tensor([5.0, -14.0, 0.0])
    counts = likelihoods.ZeroInflatedNegativeBinomial(nn.Identity())(output)
    r = torch.nn.functional.softplus(output[1]).double().item()
    exact = np.log(0.5) + stats.nbinom(r, r / (r + np.exp(5.0))).logpmf(3)
    np.testing.assert_allclose(counts.log_prob(torch.tensor([3.0])).item(), exact, rtol=1e-5)
    assert torch.isfinite(counts.sample()).all()
