"""Better posteriors of given datapoints: searched, mixed, annealed."""

from ppvae.refinement.annealed_chains import Annealing, Begun, Chains, sigmoid_schedule
from ppvae.refinement.best_normals import fit_normal
from ppvae.refinement.compiled_path import PathCode
from ppvae.refinement.components import Components
from ppvae.refinement.costs import CACHED, seconds_without_code
from ppvae.refinement.mixture import Estimate, Mixture
from ppvae.refinement.modes import Modes, find_modes
from ppvae.refinement.paths import GuideStart, Path, Point, PriorStart
from ppvae.refinement.search import Found, Search, search_chunk, search_chunks
from ppvae.refinement.step_sizes import StepSizes
from ppvae.refinement.summed_out import with_discrete_summed_out
from ppvae.refinement.targets import Densities, Target, joined, target_of
from ppvae.refinement.tempering import tempered
from ppvae.refinement.threads import Stopped, in_threads, single_threaded
from ppvae.refinement.tiling import Tiling, tiles_for

__all__ = [
    "CACHED",
    "Annealing",
    "Begun",
    "Chains",
    "Components",
    "Densities",
    "Estimate",
    "Found",
    "GuideStart",
    "Mixture",
    "Modes",
    "Path",
    "PathCode",
    "Point",
    "PriorStart",
    "Search",
    "StepSizes",
    "Stopped",
    "Target",
    "Tiling",
    "find_modes",
    "fit_normal",
    "in_threads",
    "joined",
    "search_chunk",
    "search_chunks",
    "seconds_without_code",
    "sigmoid_schedule",
    "single_threaded",
    "target_of",
    "tempered",
    "tiles_for",
    "with_discrete_summed_out",
]
