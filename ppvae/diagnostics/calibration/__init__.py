"""Is the guide too sure of itself? Tests on data simulated from the model."""

from ppvae.diagnostics.calibration.credible_regions import Coverage, coverage, coverage_of
from ppvae.diagnostics.calibration.ranks import RankCounter, SimulatedRanks, simulated_ranks
from ppvae.diagnostics.calibration.simulation_based import SBC, VSBC, sbc, sbc_of, vsbc, vsbc_of

__all__ = [
    "SBC",
    "VSBC",
    "Coverage",
    "RankCounter",
    "SimulatedRanks",
    "coverage",
    "coverage_of",
    "sbc",
    "sbc_of",
    "simulated_ranks",
    "vsbc",
    "vsbc_of",
]
