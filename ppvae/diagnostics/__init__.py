"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.bits import bits_per_dimension
from ppvae.diagnostics.comparison import compare
from ppvae.diagnostics.convergence import convergence, gradient_signal
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.outliers import outlier_score
from ppvae.diagnostics.predictive import posterior_predictive_check, prior_predictive_check
from ppvae.diagnostics.pyro_svi import from_pyro_svi
from ppvae.diagnostics.stacking import Stacking, stacking_weights
from ppvae.diagnostics.two_sample import classifier_two_sample, mmd

__all__ = [
    "ActiveUnits",
    "Stacking",
    "active_units",
    "bits_per_dimension",
    "classifier_two_sample",
    "compare",
    "convergence",
    "evidence",
    "from_pyro_svi",
    "gradient_signal",
    "kl_per_dimension",
    "mmd",
    "outlier_score",
    "pareto_k",
    "posterior_predictive_check",
    "prior_predictive_check",
    "stacking_weights",
    "summarize",
    "to_arviz",
    "weights",
]
