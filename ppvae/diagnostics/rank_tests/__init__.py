"""Exact tests of ranks."""

from ppvae.diagnostics.rank_tests.coordinates import map_columns, site_dataset
from ppvae.diagnostics.rank_tests.exchangeable import highest_p_value, upper_p_value
from ppvae.diagnostics.rank_tests.multiple_testing import holm
from ppvae.diagnostics.rank_tests.symmetry import symmetry_p_values
from ppvae.diagnostics.rank_tests.uniformity import (
    binomial_p_values,
    uniform_band,
    uniform_p_values,
)

__all__ = [
    "binomial_p_values",
    "highest_p_value",
    "holm",
    "map_columns",
    "site_dataset",
    "symmetry_p_values",
    "uniform_band",
    "uniform_p_values",
    "upper_p_value",
]
