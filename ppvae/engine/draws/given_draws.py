"""Given latents as runs of a pair take them, in place of the guide's draws."""

from collections.abc import Mapping

import pyro.poutine as poutine
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.draws.folding import folded
from ppvae.engine.draws.ways import Way
from ppvae.engine.execution import run_pair
from ppvae.engine.pair import Pair
from ppvae.engine.sites import PLATE, Site, plates
from ppvae.engine.structure import Structure


def given_traces(
    pair: Pair, batch: Batch, structure: Structure, latents: Mapping[str, Tensor], way: Way
) -> list[poutine.Trace]:
    """Return given latents as traces that runs of the pair replay.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: what `structure_of` said of the pair.
        latents: values, `(draw, data, *inner plates, *event)`, by site.
        way: how several draws are run.

    Returns:
        One trace for all draws, or one for each where they are run one by one.

    Raises:
        ValueError: if they are not of the pair's latent sites.
    """
    if set(latents) != set(structure.latents):
        raise ValueError(
            f"the given draws are of the latent sites {', '.join(latents) or 'none'}; expected "
            f"{', '.join(structure.latents) or 'none'}, which the guide draws"
        )
    draws = len(next(iter(latents.values()), ()))
    if way is Way.FOLDED:
        guide = run_pair(pair, folded(batch, draws))[0]
        values = {name: value.flatten(0, 1) for name, value in latents.items()}
        return [_trace(guide, values, None)]
    guide = run_pair(pair, batch)[0]
    if way is Way.AT_ONCE:
        return [_trace(guide, latents, structure.draw_dim)]
    return [
        _trace(guide, {name: value[index] for name, value in latents.items()}, None)
        for index in range(draws)
    ]


def _trace(
    sites: Mapping[str, Site], values: Mapping[str, Tensor], draw_dim: int | None
) -> poutine.Trace:
    given = poutine.Trace()
    for name, value in values.items():
        placed = _in_plates(value, sites[name], draw_dim)
        given.add_node(name, **{**sites[name], "value": placed, "infer": {}})
    return given


def _in_plates(value: Tensor, site: Site, draw_dim: int | None) -> Tensor:
    """Put a value `(draw, data, *inner plates, *event)` where the site's plates stand.

    It undoes `by_datapoint`.
    """
    frames = plates(site)
    (data_dim,) = (frame.dim for frame in frames if frame.name == PLATE)
    first = [dim for dim in (draw_dim, data_dim) if dim is not None]
    dims = first + sorted(frame.dim for frame in frames if frame.dim not in first)
    order = sorted(range(len(dims)), key=lambda axis: dims[axis])
    events = range(len(dims), value.dim())
    moved = value.permute(*order, *events)
    shape = [1] * -min(dims)
    for axis, dim in enumerate(sorted(dims)):
        shape[dim] = moved.shape[axis]
    return moved.reshape(*shape, *value.shape[len(dims) :])
