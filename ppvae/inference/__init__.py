"""The right side of formula (2): training."""

from ppvae.inference.callbacks import Converged, EarlyStopping
from ppvae.inference.cosine_decay import CosineDecay
from ppvae.inference.interruption import Terminated
from ppvae.inference.learning_rate import EachStep
from ppvae.inference.objectives import (
    CombinedImportanceWeighted_ELBO,
    Compiled,
    FreeBits_ELBO,
    ImportanceWeighted_ELBO,
    InverseMultiquadratics,
    MaximumMeanDiscrepancy_ELBO,
    PartiallyImportanceWeighted_ELBO,
    StickingTheLanding_ELBO,
    StickingTheLandingEnum_ELBO,
    TotalCorrelation_ELBO,
    VariationalRenyi_ELBO,
)
from ppvae.inference.persistence import Checkpoints, load, save
from ppvae.inference.schedules import CyclicWarmup, LinearWarmup
from ppvae.inference.state import Diverged, Fit, Training
from ppvae.inference.steps import JointOptim
from ppvae.inference.tensorboard import TensorBoard
from ppvae.inference.training import fit

__all__ = [
    "Checkpoints",
    "CombinedImportanceWeighted_ELBO",
    "Compiled",
    "Converged",
    "CosineDecay",
    "CyclicWarmup",
    "Diverged",
    "EachStep",
    "EarlyStopping",
    "Fit",
    "FreeBits_ELBO",
    "ImportanceWeighted_ELBO",
    "InverseMultiquadratics",
    "JointOptim",
    "LinearWarmup",
    "MaximumMeanDiscrepancy_ELBO",
    "PartiallyImportanceWeighted_ELBO",
    "StickingTheLandingEnum_ELBO",
    "StickingTheLanding_ELBO",
    "TensorBoard",
    "Terminated",
    "TotalCorrelation_ELBO",
    "Training",
    "VariationalRenyi_ELBO",
    "fit",
    "load",
    "save",
]
