"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.annealing import ais, bdmc
from ppvae.diagnostics.bounds import bound_table
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.pyro_svi import from_pyro_svi

__all__ = [
    "ActiveUnits",
    "active_units",
    "ais",
    "bdmc",
    "bound_table",
    "evidence",
    "from_pyro_svi",
    "kl_per_dimension",
    "pareto_k",
    "summarize",
    "to_arviz",
    "weights",
]
