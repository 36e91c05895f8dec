"""The dominating measure of a pair's log P(X): only densities of the same kind are comparable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.poutine.util import site_is_factor
from torch import Tensor

from ppvae.engine import Batch, Pair, Unsupported, by_datapoint, isolated, run_pair

_ROWS = 256


@dataclass(frozen=True)
class DominatingMeasure:
    """What a pair observes of the first datapoints.

    Args:
        discrete: whether some observed site has discrete values.
        supports: the count of numbers in a datapoint that have a density, by their support:
            "numbers" for intervals of the real line, else its name, such as "Simplex".
        values: those numbers, `(data, numbers)`, sorted within each datapoint.
    """

    discrete: bool
    supports: Mapping[str, int]
    values: Tensor

    @property
    def text(self) -> str:
        """The measure in words."""
        kinds = [f"a density of {count} {kind}" for kind, count in self.supports.items()]
        return " and ".join(["a probability of discrete values"] * self.discrete + kinds)


def measure_of(pair: Pair, batch: Batch, seed: int) -> DominatingMeasure:
    """Run a pair on the first rows of its batch and read what it observes.

    Raises:
        Unsupported: if the distribution of an observed site declares no support.
    """
    with isolated(pair, seed):
        try:
            _, model = run_pair(pair, tuple(tensor[:_ROWS] for tensor in batch))
        except Exception:  # a plate of fixed size takes all rows or none; other errors come again
            _, model = run_pair(pair, batch)
    discrete, values = False, []
    supports: dict[str, int] = {}
    for name, site in model.items():
        if not site["is_observed"] or site_is_factor(site):
            continue
        support = _support(name, site["fn"])
        if support.is_discrete:
            discrete = True
            continue
        numbers = by_datapoint(site["value"], site, None).double().cpu()
        numbers = numbers.reshape(len(numbers), -1)[:_ROWS]
        kind = "numbers" if support.event_dim == 0 else type(support).__name__.lstrip("_")
        supports[kind] = supports.get(kind, 0) + numbers.shape[1]
        values.append(numbers)
    joined = torch.cat(values, 1) if values else torch.zeros(len(batch[0][:_ROWS]), 0)
    return DominatingMeasure(discrete, supports, joined.sort(1).values)


def check_comparable(measures: Mapping[str, DominatingMeasure]) -> None:
    """Refuse pairs whose log densities have different dominating measures.

    Raises:
        Unsupported: if some are probabilities and others densities, densities of different numbers
            of values, or of values that differ, as where one model standardizes its data.
    """
    (first, reference), *others = measures.items()
    for name, measure in others:
        same_kind = (measure.discrete, measure.supports) == (
            reference.discrete,
            reference.supports,
        )
        if not same_kind:
            raise Unsupported(
                f"log P(X) of {name!r} is {measure.text}, that of {first!r} {reference.text}: "
                "they are not comparable; give the pairs likelihoods of the same kind"
            )
        if not torch.allclose(measure.values, reference.values, rtol=1e-4, atol=1e-6):
            raise Unsupported(
                f"pairs {name!r} and {first!r} observe different numbers; if one rescales its "
                "data, the densities have different units; score the same numbers"
            )


def _support(name: str, distribution: Any) -> Any:
    """Return the support of one draw, without the event dimensions that `to_event` declares."""
    try:
        support = distribution.support
    except NotImplementedError:
        raise Unsupported(
            f"the distribution {type(distribution).__name__} of observed site {name!r} declares "
            "no support, so it is not known of what log P(X) is a density"
        ) from None
    while hasattr(support, "base_constraint"):
        support = support.base_constraint
    return support
