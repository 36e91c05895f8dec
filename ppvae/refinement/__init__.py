"""Better posteriors of given datapoints: searched, mixed, annealed."""

from ppvae.refinement.annealed_chains import Annealing, Chains, sigmoid_schedule
from ppvae.refinement.mixture import Estimate, Mixture
from ppvae.refinement.paths import GuideStart, PriorStart
from ppvae.refinement.search import Found, Search, search_chunk, search_chunks

__all__ = [
    "Annealing",
    "Chains",
    "Estimate",
    "Found",
    "GuideStart",
    "Mixture",
    "PriorStart",
    "Search",
    "search_chunk",
    "search_chunks",
    "sigmoid_schedule",
]
