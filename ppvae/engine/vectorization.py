"""Whether several draws of a pair can be scored at once, in a plate left of all others.

A network that was written for one batch dimension may fail on a second, or worse, return something
of a wrong but fitting shape. So two draws at once are compared with each of them alone.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.densities import log_density
from ppvae.engine.enumerated_sites import one_valued
from ppvae.engine.errors import Unsupported, first_line
from ppvae.engine.execution import execute
from ppvae.engine.guide_draws import score_sites
from ppvae.engine.model_draws import DRAWS, simulated_sites
from ppvae.engine.pair import Pair
from ppvae.engine.sites import Sites, one_draw
from ppvae.engine.structure import Structure

Run: TypeAlias = Callable[[int | None, poutine.Trace | None], tuple[Sites, Tensor]]
"""Draws that many at once, or without a plate for them, taking given values of its sites instead.

It returns the sites that were drawn and the log densities `(draw, data)`.
"""

CANNOT_SCORE = (NotImplementedError, KeyError)
"""What a guide raises that can only score its own draws: Pyro's flows without an inverse know
the draws that they made, as the same tensors."""


def check_vectorized(run: Run, draw_dim: int, *, unscored: bool = False) -> None:
    """Refuse a pair that scores two draws at once otherwise than each of them alone.

    Args:
        run: draws and scores.
        draw_dim: the dimension of the draws.
        unscored: accept a guide that cannot score given draws, so that nothing can be compared.

    Raises:
        Unsupported: if it cannot score them at once, or has other densities.
    """
    try:
        sites, together = run(2, None)
        draws = [one_draw(sites, draw_dim, index) for index in range(2)]
    except Exception as error:  # one draw after the other, an error of the pair's comes up again
        raise Unsupported(
            f"the pair cannot score several draws at once ({first_line(error)})"
        ) from error
    for index, drawn in enumerate(draws):
        try:
            _, alone = run(None, drawn)
        except CANNOT_SCORE as error:
            if unscored:
                continue
            raise Unsupported("the guide can score its own draws alone") from error
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        if not torch.allclose(
            together[index], alone[0], rtol=tolerance, atol=tolerance, equal_nan=True
        ):
            raise Unsupported(
                "the pair scores several draws at once otherwise than one after the other, as "
                "networks for a single batch dimension do, and such as draw random numbers "
                "themselves (dropout)"
            )


def vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two draws z ~ q(z|x) at once have the log weights of each of them alone."""

    def run(draws: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        with _plate(draws, structure):
            guide, model = execute(pair, batch, structure, given)
        scored = score_sites(guide, model, structure, len(batch[0]), draws)
        return one_valued(guide), scored.log_weights

    return _vectorizes(run, structure.draw_dim)


def model_vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two simulations x, z ~ p(x, z) at once have the densities of each alone.

    A model that reads its own observations meets them with a dimension of draws only here. A
    model whose sites are enumerated in every run is simulated draw by draw.
    """
    if structure.enumerated:
        return False

    def run(draws: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        values = {} if given is None else given.nodes
        sites = simulated_sites(pair, batch, structure, draws, values)
        total = log_density(sites.values(), structure, len(batch[0]), draws)
        if total.dim() > 2:  # nothing is enumerated here
            raise Unsupported("a log density has dimensions left of the draws")
        return {name: site for name, site in sites.items() if not site_is_factor(site)}, total

    return _vectorizes(run, structure.draw_dim)


def _vectorizes(run: Run, draw_dim: int) -> bool:
    try:
        check_vectorized(run, draw_dim)
    except Unsupported:
        return False
    return True


def _plate(draws: int | None, structure: Structure) -> AbstractContextManager[object]:
    if draws is None:
        return nullcontext()
    plate: AbstractContextManager[object] = pyro.plate(DRAWS, draws, dim=structure.draw_dim)
    return plate
