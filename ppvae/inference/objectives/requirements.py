"""What the particle objectives need of a pair."""

from types import SimpleNamespace
from typing import Any

import pyro.poutine as poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from ppvae.engine import (
    CANNOT_SCORE,
    Program,
    Sites,
    TrainingStructure,
    Unsupported,
    check_vectorized,
    first_line,
    isolated,
    sample_sites,
)
from ppvae.inference.objectives.particles import particles


def check_path(
    objective: str,
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    structure: TrainingStructure,
    *,
    alone: bool,
) -> None:
    """Check that gradients can go through the draws, and if `alone`, through nothing else.

    Raises:
        Unsupported: if the draws of a site have no gradient or not all of it, or a guide cannot
            score given draws.
    """
    for name, family in structure.unreparameterized.items():
        raise Unsupported(
            f"{objective} takes gradients through the draws alone, but those of latent site "
            f"{name!r} have none: {family} is not reparameterized; take an objective with plain "
            "gradients, or another family in the guide"
        )
    for name, family in structure.rounded.items():
        raise Unsupported(
            f"{objective} takes gradients through the draws, but at latent site {name!r} {family} "
            "rounds them, and scores what they were before; take Trace_ELBO or "
            "ImportanceWeighted_ELBO with plain gradients, or another family in the guide"
        )
    for name, reason in structure.off_the_path.items() if alone else ():
        raise Unsupported(
            f"{objective} takes gradients through the draws alone, which miss a part at latent "
            f"site {name!r}: {reason}; take an objective with plain gradients, or another family "
            "in the guide"
        )
    with isolated(SimpleNamespace(model=model, guide=guide), seed=0, keep=True):
        try:
            particles(model, guide, args, structure, None, gated=True)
        except CANNOT_SCORE as error:
            raise Unsupported(
                f"{objective} takes gradients through the draws alone, which needs log q(z|x) of "
                f"given draws: {first_line(error)}"
            ) from error


def check_particles(
    model: Program, guide: Program, args: tuple[Any, ...], structure: TrainingStructure
) -> None:
    """Weigh two draws at once and one after the other, leaving no trace of it.

    Raises:
        Unsupported: if the pair cannot, or gives other weights.
    """
    subsamples: Sites = {}

    def run(count: int | None, given: poutine.Trace | None) -> tuple[Sites, Tensor]:
        if given is not None:
            for name, site in subsamples.items():
                given.add_node(name, **site)
        drawn = particles(model, guide, args, structure, count, replayed=given, model_seed=0)
        subsamples.update(
            {
                name: site
                for name, site in drawn.trace.nodes.items()
                if site["type"] == "sample" and site_is_subsample(site)
            }
        )
        return sample_sites(drawn.trace), drawn.log_weights.expand(count or 1, -1)

    with isolated(SimpleNamespace(model=model, guide=guide), seed=0, keep=True):
        try:
            check_vectorized(run, structure.draw_dim, unscored=True)
        except Unsupported as refusal:
            raise Unsupported(f"{refusal}; pass vectorize_particles=False") from refusal.__cause__
