"""All data of a pair as one datapoint, whose latents are the shared ones and all others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pyro
import pyro.poutine as poutine
import torch
from torch import Tensor

from ppvae.engine.adaptation.adapted import Adapted
from ppvae.engine.adaptation.arguments import batch_of
from ppvae.engine.adaptation.sources import arguments_of
from ppvae.engine.batches import Batch
from ppvae.engine.densities import scaled_log_prob
from ppvae.engine.errors import Unsupported, first_line
from ppvae.engine.isolation import isolated
from ppvae.engine.laplace import normal_at_mode
from ppvae.engine.pair import Pair, Program
from ppvae.engine.sites import Sites, base_of, plates, sample_sites

_ALL = "all_data"
_ROUNDING = torch.finfo(torch.float32).eps ** 0.5


@dataclass(eq=False)
class AsOne:
    """A pair of the same programs, within a plate of one row left of all others.

    Args:
        pair: the pair.
        measured: its guide as it is measured.
        arguments: all its data.
        keywords: likewise.
        dim: the dimension of the plate.
    """

    pair: Pair
    measured: Program
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    dim: int
    data_plate: ClassVar[str] = _ALL

    def model(self, row: Tensor) -> Any:
        """Run the model on all data."""
        return self._run(self.pair.model, row)

    def guide(self, row: Tensor) -> Any:
        """Run the guide on all data."""
        return self._run(self.measured, row)

    def _run(self, program: Program, row: Tensor) -> Any:
        with pyro.plate(_ALL, len(row), dim=self.dim):
            return program(*self.arguments, **self.keywords)


def as_one(pair: Pair, data: Any) -> tuple[AsOne, Batch]:
    """Return a pair whose only datapoint is all data, and the batch of that datapoint.

    Its densities are compared once with those of the pair itself.

    Args:
        pair: any pair.
        data: all data that the guide was fitted to; of a dataset, the training split.

    Raises:
        Unsupported: if the programs do not take a dimension left of their plates, or scale their
            densities, as plates do that take some of their rows.
    """
    own, (batch, form) = pair, batch_of(pair, arguments_of(data, split="train", pair=pair))
    if isinstance(pair, Adapted):
        own, form = pair.pair, pair.form  # the data are already as the engine takes them
    arguments, keywords = form.filled(batch)
    with isolated(own, 0):
        measured = normal_at_mode(own.model, own.guide, arguments, keywords)
        alone = _run(own.model, measured, arguments, keywords)
        sites = [*alone[0].values(), *alone[1].values()]
        if any(not _is_one(site["scale"]) for site in sites):
            raise Unsupported(
                "sites have a scale, as in a plate that takes some of its rows, so that log P(X) "
                "of all data is not known; pass all rows"
            )
        depth = max((-frame.dim for site in sites for frame in plates(site)), default=0)
        one = AsOne(own, measured, arguments, keywords, -depth - 1)
        row = torch.zeros(1, device=batch[0].device)
        try:
            within = _run(one.model, one.guide, (row,), {})
            given = [_like(*both) for both in zip(within, alone, strict=True)]
            again = _run(own.model, measured, arguments, keywords, *given)
        except Exception as error:
            raise Unsupported(
                "the pair does not run with a dimension left of its plates, as one that names "
                f"dimensions from the left ({first_line(error)})"
            ) from error
        for found, expected in zip(within, again, strict=True):
            densities = scaled_log_prob(found.values()), scaled_log_prob(expected.values())
            if not math.isclose(*densities, rel_tol=_ROUNDING, abs_tol=_ROUNDING):
                raise Unsupported(
                    "the pair has other densities with a dimension left of its plates, as one has "
                    "that names dimensions from the left"
                )
    return one, (row,)


def _run(
    model: Program,
    guide: Program,
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    of_guide: poutine.Trace | None = None,
    of_model: poutine.Trace | None = None,
) -> tuple[Sites, Sites]:
    """Run guide and model, from given values where there are some."""
    drawn = poutine.trace(poutine.replay(guide, of_guide or poutine.Trace()))
    trace = drawn.get_trace(*arguments, **keywords)
    given = poutine.Trace()
    for name, site in {**(of_model or poutine.Trace()).nodes, **trace.nodes}.items():
        given.add_node(name, **site)
    whole = poutine.trace(poutine.replay(model, given)).get_trace(*arguments, **keywords)
    return sample_sites(trace), sample_sites(whole)


def _like(sites: Sites, others: Sites) -> poutine.Trace:
    """Return the values of sites in the shapes that they have in another run.

    What a guide makes of auxiliary sites is made anew: it may differ by rounding.
    """
    given = poutine.Trace()
    for name, site in sites.items():
        if not isinstance(base_of(site["fn"]), pyro.distributions.Delta):
            value = site["value"].reshape(others[name]["value"].shape)
            given.add_node(name, **{**site, "value": value})
    return given


def _is_one(scale: Tensor | float) -> bool:
    return bool((torch.as_tensor(scale) == 1).all())
