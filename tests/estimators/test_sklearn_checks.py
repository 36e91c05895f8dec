"""scikit-learn's own checks of estimators, all of them."""

import pytest
from sklearn.utils import estimator_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from ppvae.estimators import VariationalAutoencoder

ESSENTIAL = (
    "check_dtype_object",
    "check_estimators_pickle",
    "check_fit_idempotent",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_no_attributes_set_in_init",
)


@pytest.mark.parametrize("name", ESSENTIAL)
def test_essential_check(name):
    estimator = VariationalAutoencoder(steps=3, draws=20)
    getattr(estimator_checks, name)("VariationalAutoencoder", estimator)


@pytest.mark.slow
@parametrize_with_checks([VariationalAutoencoder(steps=3, draws=20)])
def test_every_check(estimator, check):
    check(estimator)
