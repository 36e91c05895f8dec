"""Whether a datapoint's densities depend on its place among the rows.

They do where a program has a parameter for each row, such as `pyro.param("loc", ...)[:len(x)]` or
an automatic guide inside the data plate. Such rows are not to be cut or put into another order.
"""

import math
from contextlib import suppress

import pyro.distributions as dist
import torch

from ppvae.engine.batches import Batch
from ppvae.engine.draws.folding import at_rows
from ppvae.engine.draws.guide_draws import score, score_sites
from ppvae.engine.execution import execute
from ppvae.engine.failures import rows_at
from ppvae.engine.isolation import random_state, set_random_state
from ppvae.engine.pair import Pair
from ppvae.engine.sites import Sites, base_of
from ppvae.engine.structure import Structure


def depends_on_place(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether the rows in reverse order, with the same latents, have other log densities.

    A pair that changes without that, as by random numbers of its own, is not said to. The random
    state is left as it was.

    Args:
        pair: the model/guide pair.
        batch: some datapoints.
        structure: what `structure_of` said of the pair on them.
    """
    rows = len(batch[0])
    state = random_state()
    with suppress(Exception):  # an error of the pair's comes up again where it is measured
        guide, model = execute(pair, batch, structure)
        drawn = score_sites(guide, model, structure, rows, None)
        tolerance = math.sqrt(torch.finfo(drawn.log_prior.dtype).eps)

        def changed(order: torch.Tensor) -> bool:
            latents: Sites = {name: at_rows(site, order) for name, site in guide.items()}
            there, unscored = score(pair, rows_at(batch, order), structure, latents)
            first, second = drawn.log_weights, there.log_weights
            if unscored or structure.degenerate:
                first, second = (of.log_prior + of.log_likelihood for of in (drawn, there))
            return not close(first[:, order.to(first.device)], second) or moved(order, latents)

        def moved(order: torch.Tensor, latents: Sites) -> bool:
            """Tell whether single points, of which rounding changes the density, are others."""
            if not structure.degenerate:
                return False
            there, _ = execute(pair, rows_at(batch, order), structure)
            return not all(
                close(latents[name]["value"], there[name]["value"])
                for name in structure.degenerate
                if isinstance(base_of(guide[name]["fn"]), dist.Delta)
            )

        def close(first: torch.Tensor, second: torch.Tensor) -> bool:
            return torch.allclose(first, second, tolerance, tolerance, equal_nan=True)

        same = torch.arange(rows)
        found = changed(same.flip(0)) and not changed(same)
        set_random_state(state)
        return found
    set_random_state(state)
    return False
