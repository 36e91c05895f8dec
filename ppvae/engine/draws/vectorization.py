"""How several draws of a pair can be run: at once, folded into rows, or one by one.

A network that was written for one batch dimension may fail on a second, or worse, return something
of a wrong but fitting shape. So two draws at once are compared with each of them alone.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TypeAlias

import pyro
import pyro.poutine as poutine
import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.densities import log_density
from ppvae.engine.draws.folding import folded, of_draws, one_folded
from ppvae.engine.draws.guide_draws import score_sites
from ppvae.engine.draws.ways import Way
from ppvae.engine.enumerated_sites import one_valued
from ppvae.engine.errors import Unsupported, first_line
from ppvae.engine.execution import execute
from ppvae.engine.isolation import random_state, set_random_state
from ppvae.engine.model_draws import DRAWS, simulated_sites
from ppvae.engine.own_draws import CANNOT_SCORE
from ppvae.engine.pair import Pair
from ppvae.engine.sites import Sites, one_draw
from ppvae.engine.structure import Structure

Run: TypeAlias = Callable[[int | None, poutine.Trace | None], tuple[Sites, Tensor]]
"""Draws that many at once, or without a plate for them, taking given values of its sites instead.

It returns the sites that were drawn and the log densities `(draw, data)`.
"""

Pick: TypeAlias = Callable[[Sites, int], poutine.Trace]
"""Returns one of the draws, as a run of that draw alone takes it."""


def check_vectorized(run: Run, draw_dim: int, *, unscored: bool = False) -> None:
    """Refuse a pair that scores two draws at once otherwise than each of them alone.

    Args:
        run: draws and scores.
        draw_dim: the dimension of the draws.
        unscored: accept a guide that cannot score given draws, so that nothing can be compared.

    Raises:
        Unsupported: if it cannot score them at once, or has other densities.
    """
    _check(run, lambda sites, index: one_draw(sites, draw_dim, index), unscored=unscored)


def _check(run: Run, pick: Pick, *, unscored: bool) -> None:
    try:
        sites, together = run(2, None)
        draws = [pick(sites, index) for index in range(2)]
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
        except Exception as error:  # likewise
            raise Unsupported(
                f"the pair cannot score one of several draws ({first_line(error)})"
            ) from error
        tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
        if not torch.allclose(
            together[index], alone[0], rtol=tolerance, atol=tolerance, equal_nan=True
        ):
            raise Unsupported(
                "the pair scores several draws at once otherwise than one after the other, as "
                "networks for a single batch dimension do, and such as draw random numbers "
                "themselves (dropout)"
            )


def way_of(pair: Pair, batch: Batch, structure: Structure) -> Way:
    """Return the first way in which two draws z ~ q(z|x) have the log weights of each alone."""
    if vectorizable(pair, batch, structure):
        return Way.AT_ONCE
    return Way.FOLDED if foldable(pair, batch, structure) else Way.ONE_BY_ONE


def model_way_of(pair: Pair, batch: Batch, structure: Structure, way: Way) -> Way:
    """Return how the model is simulated beside a guide whose draws are run in a given way.

    A model whose sites are enumerated in every run is simulated draw by draw, since a simulation
    shows the densities of all their values.
    """
    if structure.enumerated:
        return Way.ONE_BY_ONE
    looks = {Way.AT_ONCE: model_vectorizable, Way.FOLDED: model_foldable}
    return way if way in looks and looks[way](pair, batch, structure) else Way.ONE_BY_ONE


def vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two draws z ~ q(z|x) at once have the log weights of each of them alone."""

    def run(draws: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        with _plate(draws, structure):
            guide, model = execute(pair, batch, structure, given)
        scored = score_sites(guide, model, structure, len(batch[0]), draws)
        return one_valued(guide), scored.log_weights

    return _agrees(run, lambda sites, index: one_draw(sites, structure.draw_dim, index))


def foldable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two draws z ~ q(z|x), folded into rows, have the log weights of each alone.

    A pair whose plate does not follow the number of rows is not. The random state is left as it
    was.
    """
    rows = len(batch[0])
    plain = replace(structure, kl=None, ordered=False)  # the closed form is not needed

    def run(draws: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        count = draws or 1
        guide, model = execute(pair, folded(batch, count), structure, given)
        weights = score_sites(guide, model, plain, count * rows, None).log_weights
        return one_valued(guide), of_draws(weights, count)

    state = random_state()
    agrees = _agrees(run, lambda sites, index: one_folded(sites, rows, index))
    set_random_state(state)
    return agrees


def model_vectorizable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two simulations x, z ~ p(x, z) at once have the densities of each alone.

    A model that reads its own observations meets them with a dimension of draws only here.
    """

    def run(draws: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        return _simulated(pair, batch, structure, draws, given)

    return _agrees(run, lambda sites, index: one_draw(sites, structure.draw_dim, index))


def model_foldable(pair: Pair, batch: Batch, structure: Structure) -> bool:
    """Tell whether two simulations, folded into rows, have the densities of each alone."""
    rows = len(batch[0])

    def run(draws: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        count = draws or 1
        sites, total = _simulated(pair, folded(batch, count), structure, None, given)
        return sites, of_draws(total, count)

    return _agrees(run, lambda sites, index: one_folded(sites, rows, index))


def _simulated(
    pair: Pair,
    batch: Batch,
    structure: Structure,
    draws: int | None,
    given: poutine.Trace | None,
) -> tuple[Sites, Tensor]:
    """Simulate the model; return its sites without factors and log p(x, z), `(draw, data)`."""
    values = {} if given is None else given.nodes
    sites = simulated_sites(pair, batch, structure, draws, values)
    total = log_density(sites.values(), structure, len(batch[0]), draws)
    if total.dim() > 2:  # nothing is enumerated here
        raise Unsupported("a log density has dimensions left of the draws")
    return {name: site for name, site in sites.items() if not site_is_factor(site)}, total


def _agrees(run: Run, pick: Pick) -> bool:
    try:
        _check(run, pick, unscored=False)
    except Unsupported:
        return False
    return True


def _plate(draws: int | None, structure: Structure) -> AbstractContextManager[object]:
    if draws is None:
        return nullcontext()
    plate: AbstractContextManager[object] = pyro.plate(DRAWS, draws, dim=structure.draw_dim)
    return plate
