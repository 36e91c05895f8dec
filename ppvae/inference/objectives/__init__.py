"""ELBOs beyond Pyro's own, for `pyro.infer.SVI` and `fit`."""

from ppvae.inference.objectives.free_bits import FreeBits_ELBO
from ppvae.inference.objectives.kernels import InverseMultiquadratics
from ppvae.inference.objectives.maximum_mean_discrepancy import MaximumMeanDiscrepancy_ELBO
from ppvae.inference.objectives.total_correlation import Decomposition, TotalCorrelation_ELBO

__all__ = [
    "Decomposition",
    "FreeBits_ELBO",
    "InverseMultiquadratics",
    "MaximumMeanDiscrepancy_ELBO",
    "TotalCorrelation_ELBO",
]
