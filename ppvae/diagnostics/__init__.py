"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.amortization import gaps
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.pyro_svi import from_pyro_svi

__all__ = [
    "ActiveUnits",
    "active_units",
    "evidence",
    "from_pyro_svi",
    "gaps",
    "kl_per_dimension",
    "pareto_k",
    "summarize",
    "to_arviz",
    "weights",
]
