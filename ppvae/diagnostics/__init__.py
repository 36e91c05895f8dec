"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.bits import bits_per_dimension
from ppvae.diagnostics.disentanglement import disentanglement
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.probes import probes
from ppvae.diagnostics.pyro_svi import from_pyro_svi
from ppvae.diagnostics.surgery import Surgery, surgery

__all__ = [
    "ActiveUnits",
    "Surgery",
    "active_units",
    "bits_per_dimension",
    "disentanglement",
    "evidence",
    "from_pyro_svi",
    "kl_per_dimension",
    "pareto_k",
    "probes",
    "summarize",
    "surgery",
    "to_arviz",
    "weights",
]
