"""What is known of a dataset before any training, as text."""

from collections import Counter

import torch
from torch import Tensor

from ppvae.data import Dataset
from ppvae.data.tabular import Binary, Category, Column
from ppvae.pairs import explained

_NAME = 28  # characters of a column's name
_VALUES = 46  # characters of its values
_LEVELS = 4  # levels that are shown
_SPLITS = ("train", "validation", "test")


def described(dataset: Dataset) -> str:
    """Return what a dataset holds: rows, columns with types and values, what was set aside.

    Example:
        >>> from ppvae import data
        >>> print(described(data.digits()))
        digits: 1797 rows of 64 features (1439 train, 179 validation, 179 test)
        likelihood Binomial: whole numbers from 0 to 16
        labels: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
    """
    sizes = [len(getattr(dataset, part)) for part in _SPLITS]
    shares = ", ".join(f"{size} {part}" for size, part in zip(sizes, _SPLITS, strict=True))
    features = dataset.event_shape.numel()
    lines = [f"{dataset.name}: {sum(sizes)} rows of {features} features ({shares})"]
    if dataset.schema is None:
        lines.append(explained(dataset))
    else:
        lines += _columns(dataset)
    if dataset.labels:
        lines.append(f"labels{_of_label(dataset)}: {_classes(dataset)}")
    if dataset.schema is not None and dataset.schema.id is not None:
        lines.append(f"rows are named by {dataset.schema.id!r}")
    for title, texts in (
        ("set aside:", _set_aside(dataset)),
        ("to look at:", [n for n in dataset.notes if " was set aside: " not in n]),
    ):
        if texts:
            lines += ["", title, *(f"  {text}" for text in texts)]
    return "\n".join(lines)


def _columns(dataset: Dataset) -> list[str]:
    assert dataset.schema is not None
    x = torch.cat([getattr(dataset, part) for part in _SPLITS])
    seen = torch.cat([dataset.seen[part] for part in _SPLITS]) if dataset.seen else None
    places = {column.name: place for place, column in enumerate(dataset.schema.features)}
    lines = ["", f"  {'column':{_NAME}} {'type':11} {'values':{_VALUES}} missing"]
    for column in dataset.schema.columns:
        place = places[column.name]
        values, missing = x[:, place], ""
        if seen is not None:
            known = seen[:, place] > 0
            values = values[known]
            share = 1 - float(known.float().mean())
            missing = f"{share:.1%}" if share else ""
        name, kind = f"{column.name:.{_NAME}}", type(column).__name__.lower()
        shown = f"{_values(column, values):.{_VALUES}}"
        lines.append(f"  {name:{_NAME}} {kind:11} {shown:{_VALUES}} {missing}".rstrip())
    return [*lines, ""]


def _values(column: Column, values: Tensor) -> str:
    """Return the levels of a column by frequency, or its range and mean."""
    if not len(values):
        return "none"
    decoded = column.decode(values.double().numpy())
    if isinstance(column, Category | Binary):
        counts = Counter(map(str, decoded.tolist())).most_common()
        shown = ", ".join(f"{level} ({count})" for level, count in counts[:_LEVELS])
        return shown + (f", {len(counts) - _LEVELS} more" if len(counts) > _LEVELS else "")
    low, high = decoded.min(), decoded.max()
    if decoded.dtype.kind == "M":
        return f"{low} to {high}"
    return f"{low:.6g} to {high:.6g}, mean {decoded.mean():.6g}"


def _of_label(dataset: Dataset) -> str:
    return f" {dataset.schema.label!r}" if dataset.schema is not None else ""


def _classes(dataset: Dataset) -> str:
    names = dataset.label_names
    if not names:
        labels = torch.cat([dataset.labels[part] for part in _SPLITS])
        names = tuple(str(label) for label in labels.unique().tolist())
    return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")


def _set_aside(dataset: Dataset) -> list[str]:
    schema = dataset.schema
    return [] if schema is None else [f"{n}: {reason}" for n, reason in schema.set_aside.items()]
