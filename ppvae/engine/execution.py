"""Runs the guide and the model of any pair."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol

import pyro.poutine as poutine
from torch import Tensor

from ppvae.engine.batches import Batch
from ppvae.engine.pair import Pair
from ppvae.engine.sites import Site, Sites, names_of, sample_sites


class Marginalized(Protocol):
    """What must be known of a pair to sum discrete sites out."""

    @property
    def draw_dim(self) -> int:
        """The batch dimension free for draws, left of every plate."""

    @property
    def marginalized(self) -> tuple[str, ...]:
        """Discrete sites of the model alone."""


def run_pair(pair: Pair, batch: Batch) -> tuple[Sites, Sites]:
    """Run guide and model once; return the guide's and the model's sample sites by name.

    Raises:
        ValueError: if the pair cannot run on the batch, or guide and model do not name the same
            latents.
    """
    guide, model = execute(pair, batch)
    latents = [name for name, site in model.items() if not site["is_observed"]]
    for name in latents:
        if name not in guide and not _enumerable(model[name]):
            raise ValueError(
                f"latent site {name!r} of the model is missing from the guide, which has "
                f"{names_of(guide)}; sample it there under the same name"
            )
    for name, site in guide.items():
        if site["is_observed"]:
            raise ValueError(
                f"site {name!r} of the guide is observed; a guide may only draw latents"
            )
        if name not in latents and not site["infer"].get("is_auxiliary"):
            raise ValueError(
                f"latent site {name!r} of the guide is missing from the model, which has "
                f"{names_of(latents)}; sample it there under the same name, or mark it "
                'infer={"is_auxiliary": True}'
            )
    return guide, model


def execute(
    pair: Pair,
    batch: Batch,
    structure: Marginalized | None = None,
    replayed: poutine.Trace | None = None,
) -> tuple[Sites, Sites]:
    """Run guide and model once and return their sample sites, without any look at them.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: names the discrete sites to be summed out and the first free dimension for it.
        replayed: values for the guide's sites, instead of draws.

    Raises:
        ValueError: if the pair cannot run on the batch.
    """
    guide_trace = run_guide(pair, batch, replayed)
    return sample_sites(guide_trace), run_model(pair, batch, structure, guide_trace)


def run_guide(pair: Pair, batch: Batch, replayed: poutine.Trace | None = None) -> poutine.Trace:
    """Run the guide alone and return its trace.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        replayed: values for the guide's sites, instead of draws.

    Raises:
        ValueError: if the guide cannot run on the batch.
    """
    guide = pair.guide if replayed is None else poutine.replay(pair.guide, trace=replayed)
    with _explained(batch):
        return poutine.trace(guide).get_trace(*batch)


def run_model(
    pair: Pair, batch: Batch, structure: Marginalized | None, given: poutine.Trace
) -> Sites:
    """Run the model alone and return its sample sites.

    Args:
        pair: the model/guide pair.
        batch: the datapoints.
        structure: names the discrete sites to be summed out and the first free dimension for it;
            without it they are drawn.
        given: latent sites whose values are taken from here; others are drawn.

    Raises:
        ValueError: if the model cannot run on the batch.
    """
    model = pair.model
    enumeration: Any = nullcontext()
    if structure is not None and structure.marginalized:
        names = frozenset(structure.marginalized)
        model = poutine.infer_config(
            model, lambda site: {"enumerate": "parallel"} if site["name"] in names else {}
        )
        enumeration = poutine.enum(first_available_dim=structure.draw_dim - 1)
    with _explained(batch), enumeration:
        return sample_sites(poutine.trace(poutine.replay(model, trace=given)).get_trace(*batch))


@contextmanager
def _explained(batch: Batch) -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        tensors = (value for value in batch if isinstance(value, Tensor))
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"the pair cannot run on data of shape {shapes}: {first}") from error


def _enumerable(site: Site) -> bool:
    return bool(getattr(site["fn"], "has_enumerate_support", False))
