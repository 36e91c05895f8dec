"""What a pair must allow to be weighed by particles."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from pyro.poutine.util import site_is_subsample

from ppvae.engine import isolated, one_draw, sample_sites
from ppvae.inference.objectives.layout import Layout, Program
from ppvae.inference.objectives.particles import particles

# Pyro's flows without an inverse know the draws that they made, as the same tensors.
_CANNOT_SCORE = (NotImplementedError, KeyError)


def check_path(
    objective: str,
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    layout: Layout,
    *,
    alone: bool,
) -> None:
    """Look whether gradients can go through the draws, and if `alone`, through nothing else.

    Raises:
        ValueError: if the draws of a site have no gradient or not all of it, or a guide cannot
            score given draws.
    """
    for name, family in layout.unreparameterized.items():
        raise ValueError(
            f"{objective} takes gradients through the draws alone, but those of latent site "
            f"{name!r} have none: {family} is not reparameterized; take an objective with plain "
            "gradients, or another family in the guide"
        )
    for name, family in layout.rounded.items():
        raise ValueError(
            f"{objective} takes gradients through the draws, but at latent site {name!r} {family} "
            "rounds them, and scores what they were before; take Trace_ELBO or "
            "ImportanceWeighted_ELBO with plain gradients, or another family in the guide"
        )
    for name, reason in layout.off_the_path.items() if alone else ():
        raise ValueError(
            f"{objective} takes gradients through the draws alone, which miss a part at latent "
            f"site {name!r}: {reason}; take an objective with plain gradients, or another family "
            "in the guide"
        )
    with isolated(SimpleNamespace(model=model, guide=guide), seed=0, keep=True):
        try:
            particles(model, guide, args, layout, None, gated=True)
        except _CANNOT_SCORE as error:
            raise ValueError(
                f"{objective} takes gradients through the draws alone, which needs log q(z|x) of "
                f"given draws: {error}"
            ) from error


def check_vectorized(
    model: Program, guide: Program, args: tuple[Any, ...], layout: Layout
) -> None:
    """Weigh two draws at once and one after the other, leaving no trace of it.

    A network that was written for one batch dimension may fail on a second, or worse, return
    something of a wrong but fitting shape.

    Raises:
        ValueError: if the pair cannot, or gives other weights.
    """
    with isolated(SimpleNamespace(model=model, guide=guide), seed=0, keep=True):
        try:
            together = particles(model, guide, args, layout, 2, model_seed=0)
            log_weights = together.log_weights.expand(2, -1)
            sites = sample_sites(together.trace)
            draws = [one_draw(sites, layout.draw_dim, index) for index in range(2)]
        except (RuntimeError, ValueError, IndexError, TypeError) as error:
            first = str(error).strip().splitlines()[0]
            raise ValueError(
                f"the pair cannot draw several particles at once ({first}); pass "
                "vectorize_particles=False"
            ) from error
        for index, draw in enumerate(draws):
            for name, node in together.trace.nodes.items():
                if node["type"] == "sample" and site_is_subsample(node):
                    draw.add_node(name, **node)
            try:
                alone = particles(
                    model, guide, args, layout, None, replayed=draw, model_seed=0
                ).log_weights[0]
            except _CANNOT_SCORE:
                continue  # a guide that can score its own draws alone, as some flows
            tolerance = math.sqrt(torch.finfo(alone.dtype).eps)
            if not torch.allclose(log_weights[index], alone, rtol=tolerance, atol=tolerance):
                raise ValueError(
                    "the pair weighs several particles at once otherwise than one after the "
                    "other, as networks for a single batch dimension do, and such as draw random "
                    "numbers themselves (dropout); pass vectorize_particles=False"
                )
