"""Splits an array into the parts of a dataset."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import constraints

from ppvae.data.dataset import Dataset
from ppvae.data.pieces import pieces_of


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
