"""Do the data look like the model's?"""

from ppvae.diagnostics.model_fit.integral_transform import PIT, pit
from ppvae.diagnostics.model_fit.nearest_neighbors import nearest_neighbor_two_sample
from ppvae.diagnostics.model_fit.outliers import outlier_score
from ppvae.diagnostics.model_fit.predictive_checks import (
    posterior_predictive_check,
    prior_predictive_check,
)
from ppvae.diagnostics.model_fit.two_sample import classifier_two_sample, mmd

__all__ = [
    "PIT",
    "classifier_two_sample",
    "mmd",
    "nearest_neighbor_two_sample",
    "outlier_score",
    "pit",
    "posterior_predictive_check",
    "prior_predictive_check",
]
