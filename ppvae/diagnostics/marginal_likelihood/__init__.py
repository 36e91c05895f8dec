"""What is log P(X), and how much of it does the guide miss?"""

from ppvae.diagnostics.marginal_likelihood.annealing import ais, bdmc
from ppvae.diagnostics.marginal_likelihood.averages import OF_WEIGHTS, summarize
from ppvae.diagnostics.marginal_likelihood.bits import bits_per_dimension
from ppvae.diagnostics.marginal_likelihood.bounds import bound_table
from ppvae.diagnostics.marginal_likelihood.importance import evidence, weights
from ppvae.diagnostics.marginal_likelihood.joint import joint_evidence
from ppvae.diagnostics.marginal_likelihood.pareto import (
    FEWEST_DRAWS,
    TailFit,
    tail_fit,
    tail_length,
    threshold,
)
from ppvae.diagnostics.marginal_likelihood.pooled_tails import tail_terms
from ppvae.diagnostics.marginal_likelihood.weight_tails import pareto_k

__all__ = [
    "FEWEST_DRAWS",
    "OF_WEIGHTS",
    "TailFit",
    "ais",
    "bdmc",
    "bits_per_dimension",
    "bound_table",
    "evidence",
    "joint_evidence",
    "pareto_k",
    "summarize",
    "tail_fit",
    "tail_length",
    "tail_terms",
    "threshold",
    "weights",
]
