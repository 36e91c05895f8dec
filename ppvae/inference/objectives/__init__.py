"""Objectives of SVI, beside Pyro's own."""

from ppvae.inference.objectives.compiled import Compiled
from ppvae.inference.objectives.free_bits import FreeBits_ELBO
from ppvae.inference.objectives.importance_weighted import (
    CombinedImportanceWeighted_ELBO,
    ImportanceWeighted_ELBO,
    PartiallyImportanceWeighted_ELBO,
)
from ppvae.inference.objectives.maximum_mean_discrepancy import (
    InverseMultiquadratics,
    MaximumMeanDiscrepancy_ELBO,
)
from ppvae.inference.objectives.sticking_the_landing import StickingTheLanding_ELBO
from ppvae.inference.objectives.sticking_the_landing_enumeration import (
    StickingTheLandingEnum_ELBO,
)
from ppvae.inference.objectives.total_correlation import Decomposition, TotalCorrelation_ELBO
from ppvae.inference.objectives.variational_renyi import VariationalRenyi_ELBO

__all__ = [
    "CombinedImportanceWeighted_ELBO",
    "Compiled",
    "Decomposition",
    "FreeBits_ELBO",
    "ImportanceWeighted_ELBO",
    "InverseMultiquadratics",
    "MaximumMeanDiscrepancy_ELBO",
    "PartiallyImportanceWeighted_ELBO",
    "StickingTheLandingEnum_ELBO",
    "StickingTheLanding_ELBO",
    "TotalCorrelation_ELBO",
    "VariationalRenyi_ELBO",
]
