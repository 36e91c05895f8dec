"""What a dataset knows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.nn.functional import one_hot

from ppvae.data.pieces import pieces_of
from ppvae.data.standardization import Standardization
from ppvae.data.tabular import Schema


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test data of one kind.

    Args:
        name: a short name, used for titles and folders.
        train: the datapoints to train on, `(data, *event)`; all three may be `SparseRows`.
        validation: the datapoints that decide when to stop.
        test: the datapoints that nothing is fitted to.
        support: the values that one feature may take; of a table with columns of different kinds
            `constraints.cat` of theirs.
        labels: the class of each datapoint: for "train", "validation" and "test" a tensor
            `(data,)`; empty where classes are not known.
        factors: the hidden factors that made each datapoint: for each split a tensor
            `(data, factor)`; empty where they are not known.
        factor_names: what the factors are.
        image_shape: height and width if a datapoint is an image, flattened or not.
        ink: whether high values of an image are dark, as ink on paper; otherwise they are light,
            as in photographs.
        series_shape: steps and features if a datapoint is a series, flattened step after step or
            not.
        standardization: the shift and scale of each feature, where a pair is to learn features of
            mean 0 and standard deviation 1. The values here stay as they are: `pairs.assemble`
            builds it into the pair.
        rows: where each datapoint was in the data that were split: for each split the numbers of
            its rows, `(data,)`, from 0; empty where that is not known.
        columns: the names of the features, where they have any.
        label_names: the names of the classes, in the order of their numbers in `labels`.
        row_names: the name of each datapoint, for each split; empty where they have none.
        notes: what was decided in reading the data, one sentence each.
        conditions: what a pair gets beside each datapoint: for each split tensors
            `(data, features)`, such as classes, one-hot; empty where it gets nothing.
        sizes: how much of each datapoint was observed, such as the total count of a cell: for each
            split `(data, 1)`; empty where that is not known. `likelihoods.ObservedSize` takes it.
        seen: which numbers of each datapoint are known, 1 or 0: for each split `(data, *event)`;
            empty where all are. The others hold any value of the support.
        schema: of a table, what its columns hold.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    support: constraints.Constraint
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    factor_names: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    standardization: Standardization | None = None
    rows: Mapping[str, Tensor] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    row_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    conditions: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)
    sizes: Mapping[str, Tensor] = field(default_factory=dict)
    seen: Mapping[str, Tensor] = field(default_factory=dict)
    schema: Schema | None = None
    ink: bool = False
    series_shape: tuple[int, int] | None = None

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one datapoint."""
        return self.train.shape[1:]

    def row_numbers(self, split: str) -> Tensor:
        """Return where the datapoints of a split were in the file or array, `(data,)`, from 0.

        Where that is not known, they are counted within the split.

        Args:
            split: "train", "validation" or "test".

        Example:
            >>> parts = split("noise", torch.randn(100, 3), constraints.real)
            >>> every = torch.cat([parts.row_numbers(s) for s in ("train", "validation", "test")])
            >>> torch.equal(every.sort().values, torch.arange(100))
            True
        """
        return self.rows[split] if split in self.rows else torch.arange(len(getattr(self, split)))

    def batch(self, split: str) -> tuple[Tensor, ...]:
        """Return what a pair is called with for a split: `(x, *conditions, size, seen)`.

        Size and seen are left out where there are none.

        Args:
            split: "train", "validation" or "test".

        Example:
            >>> parts = split("noise", torch.randn(100, 3), constraints.real)
            >>> len(parts.batch("train"))
            1
        """
        others = [each[split] for each in (self.sizes, self.seen) if each]
        return (getattr(self, split), *self.conditions.get(split, ()), *others)

    def conditional(self) -> "Dataset":
        """Return the dataset for a pair that is given the class of each datapoint, one-hot.

        Raises:
            ValueError: if the classes are not known.

        Example:
            >>> classes = torch.arange(100) % 4
            >>> parts = split("noise", torch.randn(100, 3), constraints.real, labels=classes)
            >>> x, given_class = parts.conditional().batch("test")
            >>> given_class.shape
            torch.Size([10, 4])
        """
        if not self.labels:
            raise ValueError(f"dataset {self.name!r} has no labels, which a pair could be given")
        count = 1 + max(int(labels.max()) for labels in self.labels.values())
        conditions = {
            part: (
                one_hot(labels.long(), count).to(self.train.dtype),
                *self.conditions.get(part, ()),
            )
            for part, labels in self.labels.items()
        }
        return replace(self, conditions=conditions)

    def standardized(self, by: Standardization | None = None) -> "Dataset":
        """Return the dataset for a pair that learns every feature in units of its own.

        The values stay as they are, so that a pair made of it by `pairs.assemble` takes and gives
        values in the units of the data, and log P(X) is in nats of the data in those units.

        Args:
            by: the shift and scale; by default those of the training data.
        """
        by = by or Standardization.of(self.train)
        return replace(self, support=constraints.real, standardization=by)


def split(
    name: str,
    values: Tensor,
    support: constraints.Constraint,
    *,
    labels: Tensor | None = None,
    factors: Mapping[str, Tensor] | None = None,
    image_shape: tuple[int, int] | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    shuffle: bool = True,
    seed: int = 0,
) -> Dataset:
    """Split an array into training, validation and test data.

    The dataset keeps the number of each row of `values` in its `rows`.

    Args:
        name: the dataset's name.
        values: all datapoints, `(data, *event)`.
        support: the values that one feature may take; of a table with columns of different kinds
            `constraints.cat` of theirs.
        labels: the class of each datapoint, `(data,)`.
        factors: hidden factors by name, `(data,)` each.
        image_shape: height and width if a datapoint is an image.
        validation: the fraction of datapoints for validation.
        test: the fraction of datapoints for testing.
        shuffle: draw the parts at random. Otherwise the last rows are for testing and those
            before them for validation, and nothing is copied.
        seed: the seed of the random split; the same seed gives the same split.

    Raises:
        ValueError: if a part would be empty, values lie outside the support, or labels or factors
            are not one a datapoint.

    Example:
        >>> parts = split("noise", torch.randn(100, 3), constraints.real)
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (80, 10, 10)
    """
    if not isinstance(values, Tensor):
        raise TypeError(
            f"dataset {name!r} needs values to be a tensor (data, *event), got "
            f"{type(values).__name__}; write torch.as_tensor(values)"
        )
    n = len(values)
    sizes = math.floor(n * validation), math.floor(n * test)
    if min(validation, test) <= 0 or min(sizes) < 1 or n - sum(sizes) < 1:
        raise ValueError(
            f"dataset {name!r}: {n} datapoints cannot be split into validation={validation}, "
            f"test={test} and a rest, each with at least one datapoint; take larger fractions or "
            "more data"
        )
    check_support(name, values, support)
    known = {} if factors is None else dict(factors)
    for what, rows in (("labels", labels), *known.items()):
        if rows is not None and rows.shape != (n,):
            raise ValueError(
                f"dataset {name!r}: {what} have shape {tuple(rows.shape)}; expected ({n},), one "
                "a datapoint"
            )
    if shuffle:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
        pieces = dict(
            zip(
                ("validation", "test", "train"), order.split([*sizes, n - sum(sizes)]), strict=True
            )
        )

    def cut(tensor: Tensor) -> dict[str, Tensor]:
        if shuffle:
            return {part: tensor[index] for part, index in pieces.items()}
        parts = tensor.split([n - sum(sizes), *sizes])
        return dict(zip(("train", "validation", "test"), parts, strict=True))

    parts = cut(values)
    return Dataset(
        name=name,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        support=support,
        labels={} if labels is None else cut(labels),
        factors=cut(torch.stack(list(known.values()), dim=1)) if known else {},
        factor_names=tuple(known),
        image_shape=image_shape,
        rows=cut(torch.arange(n)),
    )


def check_support(name: str, values: Tensor, support: constraints.Constraint) -> None:
    """Refuse values that lie outside a support. Checks a bounded number of them at once.

    Raises:
        ValueError: with their number.
    """
    outside = sum(int((~support.check(rows)).sum()) for rows in pieces_of(values))
    if outside:
        raise ValueError(f"dataset {name!r}: {outside} value(s) lie outside the support {support}")
