"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.importance import evidence, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension

__all__ = [
    "ActiveUnits",
    "active_units",
    "evidence",
    "kl_per_dimension",
    "summarize",
    "weights",
]
