"""Better posteriors of given datapoints: searched, mixed, annealed."""

from ppvae.refinement.annealed_chains import Annealing, Begun, Chains, sigmoid_schedule
from ppvae.refinement.compiled_path import PathCode
from ppvae.refinement.costs import CACHED, seconds_without_code
from ppvae.refinement.mixture import Estimate, Mixture
from ppvae.refinement.paths import GuideStart, Path, Point, PriorStart
from ppvae.refinement.search import Found, Search, search_chunk, search_chunks
from ppvae.refinement.step_sizes import StepSizes
from ppvae.refinement.threads import Stopped, in_threads, single_threaded
from ppvae.refinement.tiling import Tiling, tiles_for

__all__ = [
    "CACHED",
    "Annealing",
    "Begun",
    "Chains",
    "Estimate",
    "Found",
    "GuideStart",
    "Mixture",
    "Path",
    "PathCode",
    "Point",
    "PriorStart",
    "Search",
    "StepSizes",
    "Stopped",
    "Tiling",
    "in_threads",
    "search_chunk",
    "search_chunks",
    "seconds_without_code",
    "sigmoid_schedule",
    "single_threaded",
    "tiles_for",
]
