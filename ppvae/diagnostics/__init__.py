"""The left side of formula (2), for any model/guide pair: how good is this posterior?"""

from ppvae.diagnostics.blocks import sharded
from ppvae.diagnostics.calibration import SBC, VSBC, Coverage, coverage, sbc, vsbc
from ppvae.diagnostics.comparison import Stacking, compare, stacking_weights
from ppvae.diagnostics.conditioning import condition_use
from ppvae.diagnostics.diagnosis import Diagnosis
from ppvae.diagnostics.effort import DEEP, QUICK, STANDARD, Effort
from ppvae.diagnostics.export import from_pyro_svi, to_arviz
from ppvae.diagnostics.findings import Finding, Verdict
from ppvae.diagnostics.inference_gaps import gaps
from ppvae.diagnostics.latents import (
    ActiveUnits,
    Surgery,
    active_units,
    disentanglement,
    kl_per_dimension,
    kl_per_site,
    probes,
    surgery,
)
from ppvae.diagnostics.marginal_likelihood import (
    ais,
    bdmc,
    bits_per_dimension,
    bound_table,
    evidence,
    joint_evidence,
    pareto_k,
    summarize,
    weights,
)
from ppvae.diagnostics.model_fit import (
    PIT,
    classifier_two_sample,
    mmd,
    nearest_neighbor_two_sample,
    outlier_score,
    pit,
    posterior_predictive_check,
    prior_predictive_check,
)
from ppvae.diagnostics.overview import diagnose
from ppvae.diagnostics.posterior_refinement import (
    BRIEF,
    THOROUGH,
    Escalation,
    Refined,
    refine,
)
from ppvae.diagnostics.rank_tests import uniform_band, uniform_p_values
from ppvae.diagnostics.remedies import Remedy
from ppvae.diagnostics.training_convergence import convergence, gradient_signal

__all__ = [
    "BRIEF",
    "DEEP",
    "PIT",
    "QUICK",
    "SBC",
    "STANDARD",
    "THOROUGH",
    "VSBC",
    "ActiveUnits",
    "Coverage",
    "Diagnosis",
    "Effort",
    "Escalation",
    "Finding",
    "Refined",
    "Remedy",
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
    "condition_use",
    "convergence",
    "coverage",
    "diagnose",
    "disentanglement",
    "evidence",
    "from_pyro_svi",
    "gaps",
    "gradient_signal",
    "joint_evidence",
    "kl_per_dimension",
    "kl_per_site",
    "mmd",
    "nearest_neighbor_two_sample",
    "outlier_score",
    "pareto_k",
    "pit",
    "posterior_predictive_check",
    "prior_predictive_check",
    "probes",
    "refine",
    "sbc",
    "sharded",
    "stacking_weights",
    "summarize",
    "surgery",
    "to_arviz",
    "uniform_band",
    "uniform_p_values",
    "vsbc",
    "weights",
]
