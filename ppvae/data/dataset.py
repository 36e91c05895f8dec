"""What a dataset knows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import constraints


@dataclass(frozen=True)
class Dataset:
    """Training, validation and test data of one kind.

    Args:
        name: a short name, used for titles and folders.
        train: the datapoints to train on, `(data, *event)`.
        validation: the datapoints that decide when to stop.
        test: the datapoints that nothing is fitted to.
        support: the values that one feature may take.
        labels: what is known beside each datapoint: for "train", "validation" and "test" a tensor
            whose first dimension is data; empty where nothing is known.
        image_shape: height and width if a datapoint is an image, flattened or not.
    """

    name: str
    train: Tensor
    validation: Tensor
    test: Tensor
    support: constraints.Constraint
    labels: Mapping[str, Tensor] = field(default_factory=dict)
    image_shape: tuple[int, int] | None = None

    @property
    def event_shape(self) -> torch.Size:
        """The shape of one datapoint."""
        return self.train.shape[1:]


def split(
    name: str,
    values: Tensor,
    support: constraints.Constraint,
    *,
    labels: Tensor | None = None,
    image_shape: tuple[int, int] | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Split an array at random into training, validation and test data.

    Args:
        name: the dataset's name.
        values: all datapoints, `(data, *event)`.
        support: the values that one feature may take.
        labels: a tensor whose first dimension is data.
        image_shape: height and width if a datapoint is an image.
        validation: the fraction of datapoints for validation.
        test: the fraction of datapoints for testing.
        seed: of the permutation; the same seed gives the same split.

    Raises:
        ValueError: if a part would be empty, or values lie outside the support.

    Example:
        >>> parts = split("noise", torch.randn(100, 3), constraints.real)
        >>> len(parts.train), len(parts.validation), len(parts.test)
        (80, 10, 10)
    """
    n = len(values)
    sizes = math.floor(n * validation), math.floor(n * test)
    if min(validation, test) <= 0 or min(sizes) < 1 or n - sum(sizes) < 1:
        raise ValueError(
            f"dataset {name!r}: {n} datapoints cannot be split into validation={validation}, "
            f"test={test} and a rest, each with at least one datapoint"
        )
    inside = support.check(values)
    if not bool(inside.all()):
        raise ValueError(
            f"dataset {name!r}: {int((~inside).sum())} value(s) lie outside the support {support}"
        )
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    rows = dict(
        zip(
            ("validation", "test", "train"),
            order.split([*sizes, n - sum(sizes)]),
            strict=True,
        )
    )
    return Dataset(
        name=name,
        **{part: values[index] for part, index in rows.items()},
        support=support,
        labels={} if labels is None else {part: labels[index] for part, index in rows.items()},
        image_shape=image_shape,
    )
