"""What the distribution of a latent depends on, told from runs of a pair."""

import math

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import Batch, Pair, Site, Sites, Structure, execute, log_prob


def moved_by_draws(first: Sites, second: Sites, names: tuple[str, ...]) -> list[str]:
    """Name the sites whose distributions differ between two runs on the same data.

    Between the runs nothing but the draws is new, and the same numbers are computed in the same
    order, so that a distribution which depends on the data alone agrees to the last bit.
    """
    return [
        name
        for name in names
        if not torch.equal(_score(first[name], first[name]), _score(second[name], first[name]))
    ]


def moved_by_data(pair: Pair, batch: Batch, other: Batch, structure: Structure) -> list[str]:
    """Name the latents whose prior density changes when the data change and the draws do not.

    Args:
        pair: the model/guide pair.
        batch: some datapoints.
        other: as many others.
        structure: what `structure_of` said of the pair.
    """
    guide, model = execute(pair, batch, structure)
    drawn = poutine.Trace()
    for name, site in guide.items():
        drawn.add_node(name, **site)
    _, moved = execute(pair, other, structure, drawn)
    return [
        name
        for name in structure.latents
        if not _close(log_prob(model[name]), log_prob(moved[name]))
    ]


def _score(site: Site, drawn: Site) -> Tensor:
    try:
        # A copy, for flows keep the density of the draw itself, which agrees only to rounding.
        scores: Tensor = site["fn"].log_prob(drawn["value"].clone())
    except ValueError:  # outside a support that has moved
        return torch.tensor(math.nan)
    except NotImplementedError:  # no inverse: whoever needs the density of other draws refuses it
        return torch.tensor(0.0)
    return scores


def _close(first: Tensor, second: Tensor) -> bool:
    tolerance = math.sqrt(torch.finfo(first.dtype).eps)
    return torch.allclose(first, second, rtol=tolerance, atol=tolerance)
