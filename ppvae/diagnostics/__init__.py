"""The left side of formula (2): how good is this posterior? For any model/guide pair."""

from ppvae.diagnostics.amortization import gaps
from ppvae.diagnostics.annealing import ais, bdmc
from ppvae.diagnostics.bits import bits_per_dimension
from ppvae.diagnostics.bounds import bound_table
from ppvae.diagnostics.calibration import SBC, VSBC, sbc, vsbc
from ppvae.diagnostics.comparison import compare
from ppvae.diagnostics.convergence import convergence, gradient_signal
from ppvae.diagnostics.credible_regions import Coverage, coverage
from ppvae.diagnostics.disentanglement import disentanglement
from ppvae.diagnostics.effort import DEEP, QUICK, STANDARD, Effort
from ppvae.diagnostics.export import to_arviz
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.importance import evidence, pareto_k, summarize, weights
from ppvae.diagnostics.latents import ActiveUnits, active_units, kl_per_dimension
from ppvae.diagnostics.outliers import outlier_score
from ppvae.diagnostics.overview import Diagnosis, diagnose
from ppvae.diagnostics.predictive import posterior_predictive_check, prior_predictive_check
from ppvae.diagnostics.predictive_ranks import PIT, pit
from ppvae.diagnostics.probes import probes
from ppvae.diagnostics.pyro_svi import from_pyro_svi
from ppvae.diagnostics.stacking import Stacking, stacking_weights
from ppvae.diagnostics.surgery import Surgery, surgery
from ppvae.diagnostics.two_sample import classifier_two_sample, mmd
from ppvae.diagnostics.uniformity import uniform_band, uniform_p_values

__all__ = [
    "DEEP",
    "PIT",
    "QUICK",
    "SBC",
    "STANDARD",
    "VSBC",
    "ActiveUnits",
    "Coverage",
    "Diagnosis",
    "Effort",
    "Finding",
    "Stacking",
    "Surgery",
    "Verdict",
    "active_units",
    "ais",
    "bdmc",
    "bits_per_dimension",
    "bound_table",
    "classifier_two_sample",
    "compare",
    "convergence",
    "coverage",
    "diagnose",
    "disentanglement",
    "evidence",
    "from_pyro_svi",
    "gaps",
    "gradient_signal",
    "kl_per_dimension",
    "mmd",
    "outlier_score",
    "pareto_k",
    "pit",
    "posterior_predictive_check",
    "prior_predictive_check",
    "probes",
    "sbc",
    "stacking_weights",
    "summarize",
    "surgery",
    "to_arviz",
    "uniform_band",
    "uniform_p_values",
    "vsbc",
    "weights",
]
