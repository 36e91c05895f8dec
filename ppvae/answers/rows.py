"""The rows that are asked about: what a pair is called with, and what each row is called."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppvae.data import Dataset, LazyRows, RowsOnDisk, Schema, SparseRows, rows_of_map
from ppvae.engine import Batch, some_rows

Frame: TypeAlias = Any
"""A `pandas.DataFrame`, which is imported only where one is made."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Rows:
    """Rows of a dataset or of a new table.

    Args:
        batch: what the pair is called with: `(x, *conditions, size, seen)`.
        numbers: where each row was in the file or array, from 0.
        names: the name of each row, if they have any.
        name: what the names are, such as the column they come from.
        labels: the class of each row, if it is known.
        label: what the classes are, such as the column they come from.
        columns: the names of the features, in their order.
        schema: of a table, what its columns hold.
        masked: whether the last tensor of the batch says which features are known.
    """

    batch: Batch
    numbers: NDArray[np.int64]
    names: tuple[str, ...] = ()
    name: str = "name"
    labels: NDArray[Any] | None = None
    label: str = "label"
    columns: tuple[str, ...] = ()
    schema: Schema | None = None
    masked: bool = False

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def seen(self) -> Tensor | None:
        """Which features are known, 1 or 0, `(data, *event)`; None if all are.

        NaN marks those that are not, where no tensor of the batch says so.
        """
        if self.masked:
            return self.batch[-1]
        x = self.batch[0]
        gaps = x.isnan() if isinstance(x, Tensor) and x.is_floating_point() else None
        return None if gaps is None or not bool(gaps.any()) else (~gaps).to(x.dtype)

    def described(self) -> dict[str, Any]:
        """Return the columns that say which row is which: its number, name and class."""
        columns: dict[str, Any] = {free("row", self.columns): self.numbers}
        if self.names:
            columns[free(self.name, columns)] = np.array(self.names, dtype=object)
        if self.labels is not None:
            columns[free(self.label, columns)] = self.labels
        return columns


def rows_of(dataset: Dataset, split: str = "test") -> Rows:
    """Return the rows of a split of a dataset.

    Args:
        dataset: the data.
        split: "train", "validation", "test", or "all": every row, in the order of the file.

    Raises:
        ValueError: if there is no such split.

    Example:
        >>> from ppvae import data
        >>> rows = rows_of(data.digits(), "all")
        >>> len(rows), rows.numbers[:3].tolist(), list(rows.described())
        (1797, [0, 1, 2], ['row', 'label'])
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split must be train, validation, test or all, got {split!r}")
    parts = SPLITS if split == "all" else (split,)
    batch = _joined([_dense(dataset.batch(part)) for part in parts])
    if dataset.rows:
        numbers = torch.cat([dataset.row_numbers(part) for part in parts]).numpy()
    else:  # they are counted within the split, or through all splits
        numbers = np.arange(len(batch[0]))
    order = np.argsort(numbers, kind="stable") if split == "all" else None
    if order is not None and not bool((order == np.arange(len(order))).all()):
        batch = some_rows(batch, torch.from_numpy(order))
    else:
        order = np.arange(len(numbers))
    names = [name for part in parts for name in dataset.row_names.get(part, ())]
    labels = None
    if dataset.labels:
        codes = torch.cat([dataset.labels[part] for part in parts]).numpy()
        labels = named(codes[order], dataset)
    return Rows(
        batch,
        numbers[order],
        tuple(names[row] for row in order) if names else (),
        names_of_rows(dataset),
        labels,
        label_of(dataset),
        feature_names(dataset),
        dataset.schema,
        bool(dataset.seen),
    )


def as_rows(data: Any, split: str) -> Rows:
    """Return the rows that a function was given: rows, a dataset's, or those of tensors.

    Raises:
        TypeError: if the data are none of these.
    """
    if isinstance(data, Rows):
        return data
    if isinstance(data, Dataset):
        return rows_of(data, split)
    tensors = data if isinstance(data, tuple) else (data,)
    if not all(isinstance(part, Tensor | np.ndarray | LazyRows) for part in tensors):
        raise TypeError(
            "data must be a dataset, a tensor or array (data, *event), a tuple of these, or what "
            f"`answers.new_rows(dataset, table)` returns, got {type(data).__name__}"
        )
    batch: Any = tuple(
        part if isinstance(part, LazyRows) else rows_of_map(part) or torch.as_tensor(part)
        for part in tensors
    )
    features = batch[0][:1].numel()
    return Rows(batch, np.arange(len(batch[0])), columns=_numbered(features))


def named(codes: NDArray[Any], dataset: Dataset) -> NDArray[Any]:
    """Return the classes of a dataset by their names, or as numbers where they have none."""
    if dataset.schema is not None and dataset.schema.labels:
        levels = dataset.schema.labels
        alike = all(type(level) is type(levels[0]) for level in levels)
        keeps = alike and not isinstance(levels[0], str)
        table = np.array(levels, dtype=None if keeps else object)
    elif dataset.label_names:
        table = np.array(dataset.label_names, dtype=object)
    else:
        return codes
    found: NDArray[Any] = table[codes]
    return found


def names_of_rows(dataset: Dataset) -> str:
    """Return what the names of a dataset's rows are."""
    if dataset.schema is not None and dataset.schema.id is not None:
        return dataset.schema.id
    return "file" if dataset.image_shape is not None else "name"


def label_of(dataset: Dataset) -> str:
    """Return what the classes of a dataset are called."""
    schema = dataset.schema
    return "label" if schema is None or schema.label is None else schema.label


def feature_names(dataset: Dataset) -> tuple[str, ...]:
    """Return the names of a dataset's features, numbered if they have none."""
    return dataset.columns or _numbered(dataset.event_shape.numel())


def free(name: str, taken: Any) -> str:
    """Return a name that no other column has.

    Example:
        >>> free("row", ["row", "size"])
        'row_'
    """
    while name in taken:
        name += "_"
    return name


def _numbered(features: int) -> tuple[str, ...]:
    return tuple(f"x_{number}" for number in range(features))


def _dense(batch: tuple[Any, ...]) -> Batch:
    """Return the tensors of a batch, of which sparse rows are made dense."""
    return tuple(part.dense() if isinstance(part, SparseRows) else part for part in batch)


def _joined(batches: list[Batch]) -> Batch:
    if len(batches) == 1:
        return batches[0]
    return tuple(_in_a_row(parts) for parts in zip(*batches, strict=True))


def _in_a_row(parts: tuple[Any, ...]) -> Any:
    """Join tensors, or rows of the same files on disk, which stay unread."""
    if isinstance(parts[0], RowsOnDisk):
        return parts[0].joined(parts[1:])
    return torch.cat(parts)
