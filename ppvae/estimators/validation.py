"""scikit-learn's checks of arguments, whose names differ between its versions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import utils
from sklearn.base import BaseEstimator

_SINCE_1_6 = hasattr(utils, "Tags")


def checked_array(
    estimator: BaseEstimator, x: Any, *, reset: bool, fewest: int
) -> NDArray[np.float64]:
    """Return what scikit-learn takes for an array, `(data, features)`; NaN stand for missing.

    Args:
        estimator: gets `n_features_in_` and `feature_names_in_`, or is compared with them.
        x: an array, a list of rows, or a frame of numbers.
        reset: whether the estimator gets them.
        fewest: the smallest number of rows.

    Raises:
        ValueError: if it is no array of numbers, holds infinite values, has too few rows, or
            other features than at `fit`.
        TypeError: if it is sparse.
    """
    options: dict[str, Any] = {"dtype": np.float64, "ensure_min_samples": fewest, "reset": reset}
    if _SINCE_1_6:
        from sklearn.utils.validation import validate_data

        options["ensure_all_finite"] = "allow-nan"
        array: NDArray[np.float64] = validate_data(estimator, x, **options)
    else:
        array = estimator._validate_data(x, force_all_finite="allow-nan", **options)
    return array


def check_columns(estimator: BaseEstimator, frame: Any, *, reset: bool) -> None:
    """Note number and names of a frame's columns, or compare them with those of `fit`.

    Raises:
        ValueError: if they differ.
    """
    if _SINCE_1_6:
        from sklearn.utils.validation import validate_data

        validate_data(estimator, frame, reset=reset, skip_check_array=True)
    else:
        estimator._check_feature_names(frame, reset=reset)
        estimator._check_n_features(frame, reset=reset)
