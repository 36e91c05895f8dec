"""Rows that a pair was not fitted to, as the pair takes them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ppvae.answers.rows import Rows, feature_names, label_of, named, names_of_rows
from ppvae.data import Dataset, given_classes, values_like
from ppvae.engine import Unsupported

_FEW = 256  # rows that tell what the sizes are


def new_rows(dataset: Dataset, source: Any) -> Rows:
    """Return rows of the same kind as a dataset's, as the pair of the dataset takes them.

    Args:
        dataset: the data that the pair was made for.
        source: what `data.values_like` reads: a file, a frame or an array.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the source does not fit the dataset; the message says where.
        Unsupported: if the pair is given conditions that new rows do not have.

    Example:
        >>> from ppvae import data
        >>> sizes = np.linspace(1, 9, 40) ** 0.5
        >>> cars = data.table({"size": sizes, "color": ["red", "blue"] * 20})
        >>> rows = new_rows(cars, {"color": ["blue"], "size": [2.0]})
        >>> len(rows), rows.columns
        (1, ('size', 'color'))
    """
    _check_conditions(dataset)
    values = values_like(dataset, source)
    codes = values.codes if dataset.labels else None
    batch = [values.x, *_conditions(dataset, codes)]
    if dataset.sizes:
        batch.append(_sizes(dataset, values.x))
    if dataset.seen:
        batch.append(values.seen)
    else:
        _check_complete(dataset, values.seen)
    known = codes is not None and bool((codes >= 0).all())
    return Rows(
        tuple(batch),
        np.arange(len(values.x)),
        values.names,
        names_of_rows(dataset),
        named(codes.numpy(), dataset) if codes is not None and known else None,
        label_of(dataset),
        feature_names(dataset),
        dataset.schema,
        bool(dataset.seen),
    )


def _check_conditions(dataset: Dataset) -> None:
    """Refuse a pair that is given more than the class of each row."""
    if not dataset.conditions:
        return
    alone = len(dataset.conditions["train"]) == 1 and dataset.labels
    if not alone or given_classes(dataset) is None:
        raise Unsupported(
            "the pair is given conditions other than the classes of the rows, such as lengths of "
            "series, which no file of new rows holds; answer for the rows of the run"
        )


def _conditions(dataset: Dataset, codes: Tensor | None) -> list[Tensor]:
    """Return the class of each row, one-hot, if the pair is given it."""
    given = given_classes(dataset) if dataset.conditions else None
    if given is None:
        return []
    if codes is None:
        raise ValueError(
            f"the pair is given the class of each row, and the new rows have none; add a column "
            f"{label_of(dataset)!r}"
        )
    wrong = (codes < 0) | (codes >= given.count)
    if bool(wrong.any()):
        raise ValueError(
            f"data row {int(wrong.nonzero()[0]) + 1} has no class that the pair knows; expected "
            f"one of {', '.join(given.names):.200}"
        )
    condition = given.as_condition(codes)
    return [condition.to(dataset.train.dtype) if given.one_hot else condition]


def _sizes(dataset: Dataset, x: Tensor) -> Tensor:
    totals = dataset.train[:_FEW].flatten(1).sum(1, keepdim=True)
    if not torch.allclose(totals, dataset.sizes["train"][:_FEW].to(totals)):
        raise Unsupported(
            "the pair is given a size of each row that is not its total, which no file of new "
            "rows holds; answer for the rows of the run"
        )
    return x.flatten(1).sum(1, keepdim=True)


def _check_complete(dataset: Dataset, seen: Tensor) -> None:
    """Refuse missing cells where a pair takes complete rows only."""
    if not bool(seen.all()):
        row, *place = (seen == 0).nonzero()[0].tolist()
        name = feature_names(dataset)[int(np.ravel_multi_index(place, dataset.event_shape))]
        raise ValueError(
            f"column {name!r} has no known value in data row {row + 1}, and the pair was trained "
            "on complete rows: fill in such cells, or train on a table in which cells are missing"
        )
