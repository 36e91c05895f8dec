"""How any pair is run and scored without leaving a trace. Internal: users type nothing of it."""

from ppvae.engine.batches import Batch, Data, as_batch, reference, row_chunks
from ppvae.engine.chunks import MEMORY, collected, draw_chunks
from ppvae.engine.densities import log_mean_exp, mean_error
from ppvae.engine.errors import Unsupported, first_line, noted
from ppvae.engine.execution import execute, run_guide, run_model, run_pair
from ppvae.engine.guide_draws import Draws, draw, draw_latents, model_densities, vectorizable
from ppvae.engine.isolation import (
    isolated,
    random_state,
    seeded,
    seeds,
    set_random_state,
)
from ppvae.engine.iterates import FEWEST, effective_sample_size, monte_carlo_error, split_rhat
from ppvae.engine.model_draws import DRAWS, Unobserved, simulated_sites
from ppvae.engine.modules import as_module, modules_of
from ppvae.engine.pair import Pair
from ppvae.engine.parameters import Collector, announce, announcement, collect, send
from ppvae.engine.simulated_data import simulations
from ppvae.engine.sites import (
    PLATE,
    Site,
    Sites,
    base_of,
    by_datapoint,
    factors_of,
    log_prob,
    one_draw,
    per_datapoint,
    plates,
    same_mask,
    sample_sites,
    support_text,
    unnormalized,
)
from ppvae.engine.structure import (
    Allocations,
    Structure,
    check_plates,
    refuse_degenerate,
    refuse_unnormalized,
    structure_of,
    summed_out,
)

__all__ = [
    "DRAWS",
    "FEWEST",
    "MEMORY",
    "PLATE",
    "Allocations",
    "Batch",
    "Collector",
    "Data",
    "Draws",
    "Pair",
    "Site",
    "Sites",
    "Structure",
    "Unobserved",
    "Unsupported",
    "announce",
    "announcement",
    "as_batch",
    "as_module",
    "base_of",
    "by_datapoint",
    "check_plates",
    "collect",
    "collected",
    "draw",
    "draw_chunks",
    "draw_latents",
    "effective_sample_size",
    "execute",
    "factors_of",
    "first_line",
    "isolated",
    "log_mean_exp",
    "log_prob",
    "mean_error",
    "model_densities",
    "modules_of",
    "monte_carlo_error",
    "noted",
    "one_draw",
    "per_datapoint",
    "plates",
    "random_state",
    "reference",
    "refuse_degenerate",
    "refuse_unnormalized",
    "row_chunks",
    "run_guide",
    "run_model",
    "run_pair",
    "same_mask",
    "sample_sites",
    "seeded",
    "seeds",
    "send",
    "set_random_state",
    "simulated_sites",
    "simulations",
    "split_rhat",
    "structure_of",
    "summed_out",
    "support_text",
    "unnormalized",
    "vectorizable",
]
