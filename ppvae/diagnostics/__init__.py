"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.bits import bits_per_dimension
from ppvae.diagnostics.calibration import SBC, VSBC, sbc, vsbc
from ppvae.diagnostics.credible_regions import Coverage, coverage
from ppvae.diagnostics.annealing import ais, bdmc
from ppvae.diagnostics.comparison import compare
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.predictive_ranks import PIT, pit
from ppvae.diagnostics.pyro_svi import from_pyro_svi
from ppvae.diagnostics.uniformity import uniform_band, uniform_p_values
from ppvae.diagnostics.stacking import Stacking, stacking_weights
from ppvae.diagnostics.disentanglement import disentanglement
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.probes import probes
from ppvae.diagnostics.pyro_svi import from_pyro_svi
from ppvae.diagnostics.surgery import Surgery, surgery

__all__ = [
    "PIT",
    "SBC",
    "VSBC",
    "ActiveUnits",
    "Coverage",
    "active_units",
    "bits_per_dimension",
    "coverage",
    "ais",
    "bdmc",
    "Stacking",
    "active_units",
    "bits_per_dimension",
    "compare",
    "Surgery",
    "active_units",
    "bits_per_dimension",
    "disentanglement",
    "evidence",
    "from_pyro_svi",
    "kl_per_dimension",
    "pareto_k",
    "pit",
    "sbc",
    "stacking_weights",
    "probes",
    "summarize",
    "surgery",
    "to_arviz",
    "uniform_band",
    "uniform_p_values",
    "vsbc",
    "weights",
]
