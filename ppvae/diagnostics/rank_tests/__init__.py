"""Exact tests of ranks."""

from ppvae.diagnostics.rank_tests.exchangeable import upper_p_value
from ppvae.diagnostics.rank_tests.quantities import dataset, each, holm
from ppvae.diagnostics.rank_tests.symmetry import symmetry_p_values
from ppvae.diagnostics.rank_tests.uniformity import (
    binomial_p_values,
    uniform_band,
    uniform_p_values,
)

__all__ = [
    "binomial_p_values",
    "dataset",
    "each",
    "holm",
    "symmetry_p_values",
    "uniform_band",
    "uniform_p_values",
    "upper_p_value",
]
