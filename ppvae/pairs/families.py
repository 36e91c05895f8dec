"""The likelihood of a dataset, chosen by the support of its features."""

import functools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import Dataset, Standardization
from ppvae.engine import Unsupported
from ppvae.likelihoods import (
    Bernoulli,
    Binomial,
    Columns,
    ContinuousBernoulli,
    FeatureSizes,
    Likelihood,
    LogNormal,
    NegativeBinomial,
    Normal,
    Units,
)

_Family = Callable[[nn.Module], Likelihood]
_SHOWN = 8  # names of columns


def family_for(dataset: Dataset, units: Units | None = None) -> _Family:
    """Return a constructor, called with a network, of the likelihood of a dataset.

    Args:
        dataset: the data.
        units: those of real features.

    Raises:
        Unsupported: if no likelihood is known for the support.
    """
    features = dataset.event_shape.numel()
    if not isinstance(dataset.support, constraints.cat):
        return _family(dataset.support, dataset.train, units)
    groups, start = [], 0
    for support, length in parts_of(dataset.support, features):
        rows = dataset.train[:, start : start + length]
        groups.append((length, _family(support, rows, _units_of(rows, support))))
        start += length
    return functools.partial(Columns, groups=groups)


def parts_of(
    support: constraints.Constraint, features: int
) -> Iterator[tuple[constraints.Constraint, int]]:
    """Yield the supports of neighboring features, and how many have it."""
    if isinstance(support, constraints.cat):
        yield from zip(support.cseq, support.lengths, strict=True)
    else:
        yield support, features


def _units_of(rows: Tensor, support: constraints.Constraint) -> Units | None:
    if support is not constraints.real:
        return None
    scaling = Standardization.of(rows)
    return Units.of(scaling.loc, scaling.scale)


def _family(support: constraints.Constraint, train: Tensor, units: Units | None) -> _Family:
    if support is constraints.boolean:
        return Bernoulli
    if support is constraints.unit_interval:
        return ContinuousBernoulli
    if support is constraints.real:
        return Normal if units is None else functools.partial(Normal, units=units)
    if support is constraints.positive:
        return LogNormal
    if support is constraints.nonnegative_integer:
        means = train.flatten(1).sum(0, dtype=torch.float64) / len(train)
        sizes = FeatureSizes.of(means.clamp(min=1 / len(train)))
        return functools.partial(NegativeBinomial, size=sizes)
    if isinstance(support, constraints.integer_interval) and support.lower_bound == 0:
        return functools.partial(Binomial, total_count=max(1, int(support.upper_bound)))
    raise Unsupported(f"no likelihood is known for the support {support}; pass likelihood")


def explained(dataset: Dataset) -> str:
    """Say in one sentence which likelihood a dataset gets, and why.

    Raises:
        Unsupported: if no likelihood is known for the support.

    Example:
        >>> from ppvae import data
        >>> explained(data.digits())
        'likelihood Binomial: whole numbers from 0 to 16'
    """
    features = dataset.event_shape.numel()
    sentences, start = [], 0
    for support, length in parts_of(dataset.support, features):
        made = _family(support, dataset.train[:1], None)
        family = made.func if isinstance(made, functools.partial) else made
        names = dataset.columns[start : start + length]
        start += length
        reason = f"{getattr(family, '__name__', family)}: {_values(support)}"
        if isinstance(dataset.support, constraints.cat):
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            reason += f" ({shown})" if shown else f" ({length} column(s))"
        sentences.append(reason)
    return f"likelihood {'; '.join(sentences)}"


def _values(support: constraints.Constraint) -> str:
    if isinstance(support, constraints.integer_interval):
        return f"whole numbers from 0 to {support.upper_bound}"
    return {
        constraints.boolean: "0 or 1",
        constraints.unit_interval: "numbers in [0, 1]",
        constraints.positive: "positive numbers",
        constraints.nonnegative_integer: "whole numbers from 0",
    }.get(support, "real numbers, in units of each feature's standard deviation")
