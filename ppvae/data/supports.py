"""Finds the values that a feature may take from those that it took."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.pieces import pieces_of

LEVELS = 255
"""The highest level of what has levels and is not counted."""


class _OpenUnitInterval(constraints.Constraint):
    lower_bound, upper_bound = 0.0, 1.0

    def check(self, value: Tensor) -> Tensor:
        return (value > 0) & (value < 1)


open_unit_interval = _OpenUnitInterval()
"""The numbers between 0 and 1, both excluded."""


class Categories(constraints.integer_interval):
    """The numbers of levels without order, from 0.

    Example:
        >>> categories(3).upper_bound
        2
    """


def categories(count: int) -> Categories:
    """Return the support of a category of so many levels."""
    return Categories(0, count - 1)  # type: ignore[no-untyped-call]  # torch's has no types


def filling(support: constraints.Constraint) -> float:
    """Return a number of a support, which can stand where a cell is missing.

    Example:
        >>> filling(constraints.real), filling(constraints.positive), filling(categories(3))
        (0.0, 1.0, 0.0)
    """
    low, high = (getattr(support, f"{side}_bound", None) for side in ("lower", "upper"))
    if low is None or high is None:
        return 0.0 if low is None else float(low) + 1
    return float(low) if support.is_discrete else (float(low) + float(high)) / 2


_PILED, _AT_LEAST = 0.01, 5  # the share and the number of values at the highest of true levels
_SMALL = 20  # the highest of whole numbers that are never taken as real ones
_GROUPS = 20  # groups of neighboring columns of one kind


def support_of(train: Tensor, others: Sequence[Tensor], by_column: bool) -> constraints.Constraint:
    """Return the support of the features, found from the training data.

    {0, 1}, levels from 0 to the highest of the training data, whole numbers from 0, [0, 1], or the
    real line. Levels are bounded and few, so that the highest is a common value; of counts it is
    rare. [0, 1] is taken where all values lie there, and not all in its lower half. The other
    splits are looked at only for values that the support would exclude.

    Args:
        train: the training data, `(data, feature)`.
        others: the other splits.
        by_column: whether columns may be of different kinds, as in a table.

    Returns:
        One support for all features, or `constraints.cat` of those of the columns.

    Example:
        >>> table = torch.tensor([[0.0, 0.1], [1.0, 7.5], [1.0, 0.3]])
        >>> support_of(table, [], by_column=True).lengths
        [1, 1]
    """
    seen, rest = _Summary.of(train), [_Summary.of(values) for values in others]
    low = min(float(each.low.min()) for each in (seen, *rest))
    high = max(float(each.high.max()) for each in (seen, *rest))
    top = float(seen.high.max())
    whole = all(bool(each.whole.all()) for each in (seen, *rest))
    if low >= 0 and high <= 1 and (whole or top > 0.5):
        return constraints.boolean if whole else constraints.unit_interval
    if low >= 0 and whole:
        common = _count(train, top) >= max(_AT_LEAST, _PILED * train.numel())
        if high <= top and (not by_column or (top <= LEVELS and common)):
            return constraints.integer_interval(0, int(top))
        counts = constraints.nonnegative_integer
        return _by_column(train, seen, rest, otherwise=counts) if by_column else counts
    return _by_column(train, seen, rest, constraints.real) if by_column else constraints.real


@dataclass(frozen=True)
class _Summary:
    """What is known of each column of a table, `(feature,)` each."""

    low: Tensor
    high: Tensor
    whole: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "_Summary":
        features = values.shape[1]
        low, high = torch.full((features,), math.inf), torch.full((features,), -math.inf)
        low, high = (each.to(values.device, values.dtype) for each in (low, high))
        whole = torch.ones(features, dtype=torch.bool)
        total = torch.zeros(features, dtype=torch.float64)
        squares = total.clone()
        for rows in pieces_of(values):
            low, high = torch.minimum(low, rows.amin(0)), torch.maximum(high, rows.amax(0))
            whole = whole & (rows == rows.floor()).all(0)
            total += rows.sum(0, dtype=torch.float64)
            squares += rows.double().square().sum(0)
        mean = total / len(values)
        return cls(low, high, whole, mean, squares / len(values) - mean.square())


def _by_column(
    train: Tensor, seen: _Summary, rest: Sequence[_Summary], otherwise: constraints.Constraint
) -> constraints.Constraint:
    """Return the supports of neighboring columns, or the other one if they are too many."""
    lows = torch.stack([each.low for each in (seen, *rest)]).amin(0)
    highs = torch.stack([each.high for each in (seen, *rest)]).amax(0)
    whole = torch.stack([each.whole for each in (seen, *rest)]).all(0) & (lows >= 0)
    if not bool(whole.any()):
        return constraints.real
    at_highest = _count_each(train, seen.high)
    levels = (
        whole
        & (seen.high <= LEVELS)
        & (highs <= seen.high)
        & (at_highest >= max(_AT_LEAST, 5 * _PILED * len(train)))
    )
    # Counts vary at least as much as those of a Poisson distribution of the same mean; the
    # variance of few rows has an error. Of small numbers a density could grow without bound.
    least = seen.mean * max(0.3, 1 - 4 * math.sqrt(2 / len(train)))
    counts = whole & ((seen.variance >= least) | (seen.high <= _SMALL))
    kinds: list[constraints.Constraint] = []
    for column in range(train.shape[1]):
        if whole[column] and highs[column] <= 1:
            kinds.append(constraints.boolean)
        elif levels[column]:
            kinds.append(constraints.integer_interval(0, int(seen.high[column])))
        else:
            kinds.append(constraints.nonnegative_integer if counts[column] else constraints.real)
    support = merged(kinds)
    many = isinstance(support, constraints.cat) and len(support.cseq) > _GROUPS
    return otherwise if many else support


def merged(kinds: Sequence[constraints.Constraint]) -> constraints.Constraint:
    """Return the support of features with one each: theirs, or `constraints.cat` of groups.

    Example:
        >>> merged([constraints.real, constraints.real, constraints.boolean]).lengths
        [2, 1]
    """
    supports, lengths = [kinds[0]], [0]
    for kind in kinds:
        if not _same(kind, supports[-1]):
            supports.append(kind)
            lengths.append(0)
        lengths[-1] += 1
    return supports[0] if len(supports) == 1 else constraints.cat(supports, -1, lengths)


def _same(one: constraints.Constraint, other: constraints.Constraint) -> bool:
    bounds = [
        (type(each), getattr(each, "lower_bound", None), getattr(each, "upper_bound", None))
        for each in (one, other)
    ]
    return bounds[0] == bounds[1]


def _count(values: Tensor, level: float) -> int:
    return sum(int((rows == level).sum()) for rows in pieces_of(values))


def _count_each(values: Tensor, levels: Tensor) -> Tensor:
    counts = torch.zeros(values.shape[1], dtype=torch.int64)
    for rows in pieces_of(values):
        counts += (rows == levels).sum(0)
    return counts


def support_text(support: constraints.Constraint) -> str:
    """Return a support as text.

    Example:
        >>> support_text(constraints.integer_interval(0, 16))
        'IntegerInterval(0, 16)'
    """
    if isinstance(support, constraints.cat):
        parts = zip(support.lengths, support.cseq, strict=True)
        return ", ".join(f"{length} of {support_text(one)}" for length, one in parts)
    bounds = [getattr(support, f"{side}_bound", None) for side in ("lower", "upper")]
    given = ", ".join(f"{float(bound):g}" for bound in bounds if bound is not None)
    return type(support).__name__.lstrip("_") + (f"({given})" if given else "")
