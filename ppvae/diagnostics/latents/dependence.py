"""What the distribution of a latent depends on, found by running a pair twice."""

import math

import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine import Batch, Pair, Site, Sites, Structure, density_at, execute, log_prob


def changed_by_draws(first: Sites, second: Sites, names: tuple[str, ...]) -> list[str]:
    """Return the names of sites whose distributions differ between two runs on the same data.

    Only the draws differ between the runs, and the same numbers are computed in the same order.
    So a distribution that depends on the data alone is equal bit for bit.
    """
    return [
        name
        for name in names
        if not torch.equal(_score(first[name], first[name]), _score(second[name], first[name]))
    ]


def changed_by_data(pair: Pair, batch: Batch, other: Batch, structure: Structure) -> list[str]:
    """Return the latents whose prior density changes with the data, at the same draws.

    Args:
        pair: the model/guide pair.
        batch: some datapoints.
        other: as many other datapoints.
        structure: what `structure_of` found for the pair.
    """
    guide, model = execute(pair, batch, structure)
    drawn = poutine.Trace()
    for name, site in guide.items():
        drawn.add_node(name, **site)
    _, changed = execute(pair, other, structure, drawn)
    return [
        name
        for name in structure.latents
        if not _close(log_prob(model[name]), log_prob(changed[name]))
    ]


def _score(site: Site, drawn: Site) -> Tensor:
    try:
        # A copy, because flows cache the density of their own draw, equal only up to rounding.
        scores = density_at(site, drawn["value"].clone())
    except ValueError:
        if bool(site["fn"].support.check(drawn["value"]).all()):
            raise
        return torch.tensor(math.nan)  # outside a support that has changed
    except NotImplementedError:  # no inverse; `log_densities` refuses it where needed
        return torch.tensor(0.0)
    return scores


def _close(first: Tensor, second: Tensor) -> bool:
    tolerance = math.sqrt(torch.finfo(first.dtype).eps)
    return torch.allclose(first, second, rtol=tolerance, atol=tolerance)
