"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.bits import bits_per_dimension
from ppvae.diagnostics.comparison import compare
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.pyro_svi import from_pyro_svi
from ppvae.diagnostics.stacking import Stacking, stacking_weights

__all__ = [
    "ActiveUnits",
    "Stacking",
    "active_units",
    "bits_per_dimension",
    "compare",
    "evidence",
    "from_pyro_svi",
    "kl_per_dimension",
    "pareto_k",
    "stacking_weights",
    "summarize",
    "to_arviz",
    "weights",
]
