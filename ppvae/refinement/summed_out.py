"""A pair whose guide's discrete latents are summed out in place of drawn."""

from dataclasses import replace
from typing import Any

import pyro.poutine as poutine

from ppvae.engine import (
    Adapted,
    Batch,
    Pair,
    Program,
    Site,
    Structure,
    run_pair,
    structure_of,
)


class _Enumerated:
    """A pair whose guide asks for some of its sites to be enumerated."""

    def __init__(self, pair: Pair, names: frozenset[str]) -> None:
        def infer(site: Site) -> dict[str, Any]:
            return {"enumerate": "parallel"} if site["name"] in names else {}

        self.model: Program = pair.model
        self.guide: Program = poutine.infer_config(pair.guide, infer)


def with_discrete_summed_out(pair: Pair, batch: Batch, structure: Structure) -> Pair:
    """Return a pair whose guide enumerates the discrete latents that it draws, where it can.

    Then p(x, z) and q(z|x) of the continuous latents are sums over the discrete ones, and what
    needs gradients serves them. The pair itself is returned where it has no discrete latents, no
    others, or does not run so.

    Args:
        pair: the model/guide pair, as the engine takes it.
        batch: some datapoints.
        structure: what `structure_of` said of the pair there.
    """
    guide = run_pair(pair, batch)[0]
    names = frozenset(
        name
        for name in structure.latents
        if guide[name]["fn"].support.is_discrete and guide[name]["fn"].has_enumerate_support
    )
    if not names or len(names) == len(structure.latents):
        return pair
    inner = pair.pair if isinstance(pair, Adapted) else pair
    other: Pair = _Enumerated(inner, names)
    if isinstance(pair, Adapted):
        other = replace(pair, pair=other)
    try:
        found = structure_of(other, batch)
    except Exception:  # a guide may not run on all values at once
        return pair
    same = set(found.latents) == set(structure.latents) - names
    return other if same else pair
