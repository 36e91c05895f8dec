"""The likelihood of a dataset, chosen by the support of its features."""

import functools
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import constraints

from ppvae.data import Categories, Dataset, SparseRows, Standardization, open_unit_interval
from ppvae.engine import Unsupported
from ppvae.likelihoods import (
    Bernoulli,
    Beta,
    Binomial,
    Categorical,
    Columns,
    ContinuousBernoulli,
    DiscretizedLogisticMixture,
    FeatureSizes,
    Likelihood,
    LogNormal,
    NegativeBinomial,
    Normal,
    ObservedSize,
    Units,
)

_Family = Callable[[nn.Module], Likelihood]
_SHOWN = 8  # names of columns
_BYTE, _COMPONENTS = 255, 3  # the highest level of pictures, and the mixture that they get


def family_for(dataset: Dataset, units: Units | None = None) -> _Family:
    """Return a constructor, called with a network, of the likelihood of a dataset.

    Args:
        dataset: the data.
        units: those of real features, where all are real; found from the training data if none.

    Raises:
        Unsupported: if no likelihood is known for the support, or what has sizes is no counts.
    """
    features = dataset.event_shape.numel()
    seen = dataset.seen.get("train")
    if dataset.sizes:
        return functools.partial(NegativeBinomial, size=observed_size(dataset))
    if _are_pictures(dataset):
        return functools.partial(DiscretizedLogisticMixture, components=_COMPONENTS)
    if not isinstance(dataset.support, constraints.cat) and seen is None:
        units = units or _units_of(dataset.train, None, dataset.support)
        return _family(dataset.support, dataset.train, None, units)
    groups, start = [], 0
    for support, length in parts_of(dataset.support, features):
        rows = dataset.train[:, start : start + length]
        known = None if seen is None else seen[:, start : start + length]
        own = _units_of(rows, known, support)
        groups.append((length, _family(support, rows, known, own)))
        start += length
    return functools.partial(Columns, groups=groups, masked=seen is not None)


def _are_pictures(dataset: Dataset) -> bool:
    """Tell whether data are pictures of 8-bit levels, which vary more than binomial ones."""
    support = dataset.support
    levels = isinstance(support, constraints.integer_interval) and support.upper_bound == _BYTE
    return dataset.image_shape is not None and levels and not dataset.seen


def observed_size(dataset: Dataset) -> ObservedSize:
    """Return the size of data that have sizes, with the share of each feature in the totals.

    Raises:
        Unsupported: if the data are no counts, or some are missing.
    """
    if dataset.support is not constraints.nonnegative_integer or dataset.seen:
        raise Unsupported(
            f"sizes are factors of the means of counts that are all known; dataset "
            f"{dataset.name!r} has the support {dataset.support}"
            f"{' and missing cells' if dataset.seen else ''}: leave its sizes out"
        )
    size = dataset.sizes["train"].sum(dtype=torch.float64)
    # What was never counted may be counted once.
    return ObservedSize.of(totals(dataset.train).clamp(min=1) / size)


def totals(train: Tensor) -> Tensor:
    """Return the sum of each feature over all rows, `(features,)`."""
    if isinstance(train, SparseRows):
        return train.moments(np.asarray)[0] * len(train)
    return train.flatten(1).sum(0, dtype=torch.float64)


def parts_of(
    support: constraints.Constraint, features: int
) -> Iterator[tuple[constraints.Constraint, int]]:
    """Yield the supports of neighboring features, and how many have it."""
    if isinstance(support, constraints.cat):
        yield from zip(support.cseq, support.lengths, strict=True)
    else:
        yield support, features


def _units_of(rows: Tensor, seen: Tensor | None, support: constraints.Constraint) -> Units | None:
    if support is constraints.positive:
        rows = rows.log()
    elif support is not constraints.real:
        return None
    scaling = Standardization.of(rows, seen)
    return Units.of(scaling.loc.flatten(), scaling.scale.flatten())


def _family(
    support: constraints.Constraint, train: Tensor, seen: Tensor | None, units: Units | None
) -> _Family:
    if support is constraints.boolean:
        return Bernoulli
    if support is constraints.unit_interval:
        return ContinuousBernoulli
    if support is open_unit_interval:
        return Beta
    if support is constraints.real:
        return Normal if units is None else functools.partial(Normal, units=units)
    if support is constraints.positive:
        return LogNormal if units is None else functools.partial(LogNormal, units=units)
    if support is constraints.nonnegative_integer:
        known = torch.as_tensor(len(train)) if seen is None else seen.sum(0).clamp(min=1)
        means = totals(train if seen is None else train * seen) / known
        sizes = FeatureSizes.of(means.clamp(min=1 / len(train)))
        return functools.partial(NegativeBinomial, size=sizes)
    if isinstance(support, Categories):
        return functools.partial(Categorical, levels=int(support.upper_bound) + 1)
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
    if _are_pictures(dataset):
        return "likelihood DiscretizedLogisticMixture: whole numbers from 0 to 255 of pictures"
    features = dataset.event_shape.numel()
    columns: dict[str, list[str]] = {}
    counts: dict[str, int] = {}
    start = 0
    for support, length in parts_of(dataset.support, features):
        made = _family(support, dataset.train[:1], None, None)
        family = made.func if isinstance(made, functools.partial) else made
        reason = f"{getattr(family, '__name__', family)}: {_values(support)}"
        columns.setdefault(reason, []).extend(dataset.columns[start : start + length])
        counts[reason] = counts.get(reason, 0) + length
        start += length
    if not isinstance(dataset.support, constraints.cat):
        return f"likelihood {next(iter(columns))}"
    sentences = []
    for reason, names in columns.items():
        shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
        sentences.append(f"{reason} ({shown or f'{counts[reason]} column(s)'})")
    return f"likelihood {'; '.join(sentences)}"


def _values(support: constraints.Constraint) -> str:
    if isinstance(support, Categories):
        return f"one of {int(support.upper_bound) + 1} levels"
    if isinstance(support, constraints.integer_interval):
        return f"whole numbers from 0 to {support.upper_bound}"
    return {
        constraints.boolean: "0 or 1",
        constraints.unit_interval: "numbers in [0, 1]",
        open_unit_interval: "numbers between 0 and 1",
        constraints.positive: "positive numbers, in units of their logarithm's standard deviation",
        constraints.nonnegative_integer: "whole numbers from 0",
    }.get(support, "real numbers, in units of each feature's standard deviation")
