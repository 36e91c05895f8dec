"""Better posteriors of given datapoints: searched, mixed, annealed."""

from ppvae.refinement.annealed_chains import Annealing, Chains, sigmoid_schedule
from ppvae.refinement.best_normals import fit_normal
from ppvae.refinement.components import Components
from ppvae.refinement.mixture import Estimate, Mixture
from ppvae.refinement.modes import Modes, find_modes
from ppvae.refinement.paths import GuideStart, PriorStart
from ppvae.refinement.search import Found, Search, search_chunk, search_chunks
from ppvae.refinement.summed_out import with_discrete_summed_out
from ppvae.refinement.targets import Densities, Target, joined, target_of
from ppvae.refinement.tempering import tempered

__all__ = [
    "Annealing",
    "Chains",
    "Components",
    "Densities",
    "Estimate",
    "Found",
    "GuideStart",
    "Mixture",
    "Modes",
    "PriorStart",
    "Search",
    "Target",
    "find_modes",
    "fit_normal",
    "joined",
    "search_chunk",
    "search_chunks",
    "sigmoid_schedule",
    "target_of",
    "tempered",
    "with_discrete_summed_out",
]
