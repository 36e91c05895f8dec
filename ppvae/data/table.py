"""Tables: a file or frame of columns as people have them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ppvae.data.dataset import Dataset
from ppvae.data.splitting import split
from ppvae.data.tabular import Column, Schema
from ppvae.data.tabular.cells import codes_of, is_missing
from ppvae.data.tabular.inference import check_types, find_columns
from ppvae.data.tabular.reading import Source, read
from ppvae.data.tabular.schema import check_names

_LOG = logging.getLogger(__name__)


def table(
    source: str | Path | Any,
    *,
    schema: str | Path | Any = None,
    label: str | None = None,
    id: str | None = None,
    types: dict[str, str] | None = None,
    missing: list[str | int | float] | None = None,
    header: bool | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    shuffle: bool = True,
    seed: int = 0,
) -> Dataset:
    """Return the data of a table whose columns are of any kinds, some cells missing.

    Sources are files of text (`.csv`, `.tsv`, `.txt`, also with `.gz`, `.bz2` or `.xz`), whose
    separator, decimal sign, encoding, comments and header are found out; `.parquet`, `.feather`
    and `.xlsx` (the packages pyarrow and openpyxl read them); frames of pandas, polars or
    pyarrow, structured arrays and dicts of columns.

    For each column a type is found: `real`, `positive` (skewed), `count`, `proportion`, `binary`,
    `category` (text, and whole numbers of few values), or it is set aside: names of rows,
    constants, copies of others. Dates are days if `types` says so. The dataset's `schema` says
    what was found; it can be written, corrected and passed again. Its `notes` say what was set
    aside and what looks odd; they are logged as warnings too.

    One feature stands for a column: `schema.encode` and `decode` map cells to numbers and back.
    Where cells are missing `Dataset.seen` is 0, and a pair that is made by `pairs.assemble`
    leaves them out of the density.

    Args:
        source: the file or frame; "-" is the standard input.
        schema: a schema or its file, instead of what would be found.
        label: the column of the classes, which is not modeled.
        id: the column that names the rows, which is not modeled.
        types: the types of some columns, by name; `aside` leaves a column out.
        missing: values that stand for missing ones, besides empty cells, NaN and the like. Unless
            given, numbers such as -999 far from all others are taken so too.
        header: whether the first line of a text file names the columns; found out unless given.
        validation: the fraction of rows for validation.
        test: the fraction of rows for testing.
        shuffle: draw the parts at random. Otherwise the last rows are for testing and those
            before them for validation.
        seed: the seed of the random split.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if the package that reads a file is not installed.
        TypeError: if the source is no table.
        ValueError: if the table is damaged, a column holds dates or infinite values, a name is
            none of its columns, or it has too few rows.

    Example:
        >>> import numpy as np
        >>> rows = {"size": np.linspace(1, 9, 40) ** 0.5, "color": ["red", "blue"] * 20}
        >>> cars = table(rows)
        >>> cars.columns, [type(column).__name__ for column in cars.schema.columns]
        (('size', 'color'), ['Real', 'Binary'])
    """
    read_in = read(source, header=header, missing=missing or ())
    found, notes = _schema_of(read_in, schema, label, id, types or {}, missing)
    x, seen = found.encode(read_in.frame)
    kept, left_out = _known_rows(read_in.name, seen)
    classes = _classes(read_in, found)
    if left_out:
        x, classes = x[kept], None if classes is None else classes[kept]
    dataset = split(
        read_in.name,
        x,
        found.support,
        labels=classes,
        validation=validation,
        test=test,
        shuffle=shuffle,
        seed=seed,
    )
    # A pair that was told which cells are known is told so of complete rows too.
    found = replace(found, complete=bool(seen[kept].all()) and (schema is None or found.complete))
    names = row_names(read_in, found)
    dataset = replace(dataset, rows={s: kept[rows] for s, rows in dataset.rows.items()})
    dataset = replace(
        dataset,
        schema=found,
        columns=tuple(column.name for column in found.features),
        seen={} if found.complete else {s: seen[rows] for s, rows in dataset.rows.items()},
        label_names=tuple(map(str, found.labels)),
        row_names={
            s: tuple(names[row] for row in rows.tolist()) for s, rows in dataset.rows.items()
        }
        if names
        else {},
        notes=(*read_in.notes, *notes, *left_out, *_copies(read_in.name, dataset)),
    )
    for note in dataset.notes:
        _LOG.warning(note)
    return dataset


def inferred_schema(
    source: Any,
    *,
    schema: str | Path | Schema | None = None,
    types: Mapping[str, str] | None = None,
    missing: Sequence[str | int | float] | None = None,
) -> tuple[Schema, tuple[str, ...]]:
    """Return what the columns of a table hold, and what is to be said of it, a sentence each.

    Args:
        source: the file or frame, as in `table`.
        schema: a schema or its file, instead of what would be found.
        types: the types of some columns, as in `table`.
        missing: values that stand for missing ones, as in `table`.

    Raises:
        TypeError: if the source is no table.
        ValueError: as `table` does.

    Example:
        >>> import numpy as np
        >>> found, notes = inferred_schema({"size": np.linspace(1, 9, 40) ** 0.5, "one": [1] * 40})
        >>> [column.name for column in found.columns], notes
        (['size'], ("column 'one' was set aside: it has one value, 1",))
    """
    read_in = read(source, missing=missing or ())
    found, notes = _schema_of(read_in, schema, None, None, types or {}, missing)
    return found, (*read_in.notes, *notes)


def row_names(source: Source, schema: Schema) -> tuple[str, ...]:
    """Return the names of a table's rows, or none if it has none."""
    if schema.id is not None:
        check_names("the table", [schema.id], source.frame)
        return tuple(map(str, source.frame[schema.id].tolist()))
    return () if source.rows is None else tuple(map(str, source.rows.tolist()))


def _schema_of(
    source: Source,
    schema: str | Path | Schema | None,
    label: str | None,
    id: str | None,
    types: Mapping[str, str],
    missing: Sequence[Any] | None,
) -> tuple[Schema, list[str]]:
    """Return the schema of a table, given or found, and what is to be said of it."""
    if schema is not None:
        if types:
            raise ValueError("pass types or a schema, not both; the schema has the types")
        given = schema if isinstance(schema, Schema) else Schema.read(schema)
        if label not in (None, given.label):
            given = replace(given, label=label, labels=())
        given = replace(given, id=id or given.id)
        if given.label is not None and not given.labels:
            given = replace(given, labels=_levels(source, given.label))
        return given, []
    frame = source.frame
    check_names("the table", [name for name in (label, id) if name is not None], frame)
    check_names("types: the table", types, frame)
    check_types(types)
    rest = {name: cells for name, cells in frame.items() if name not in (label, id)}
    if not rest:
        raise ValueError(f"{source.name} has no column besides {label or id}; nothing to model")
    found = find_columns(rest, types, missing is None, tuple(missing or ()))
    notes = [f"column {name!r} was set aside: {why}" for name, why in found.set_aside.items()]
    if not found.columns:
        raise ValueError(
            f"{source.name} has no column that can be modeled: {'; '.join(notes):.500}"
        )
    if id is None and source.rows is None:
        id = found.names
    labels = () if label is None else _levels(source, label)
    columns: tuple[Column, ...] = tuple(found.columns)
    return Schema(columns, found.set_aside, label, labels, id), [*found.notes, *notes]


def _levels(source: Source, label: str) -> tuple[Any, ...]:
    """Return the classes of a table, sorted."""
    check_names("the table", [label], source.frame)
    cells = source.frame[label]
    known = cells[~is_missing(cells)]
    levels = sorted({_plain(value) for value in known.tolist()}, key=lambda v: (str(type(v)), v))
    if len(levels) > len(known) / 2 and len(levels) > 20:
        raise ValueError(
            f"label column {label!r} has {len(levels)} different values in {len(known)} rows; "
            "expected classes: leave label out to model the column"
        )
    return tuple(levels)


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _classes(source: Source, schema: Schema) -> Tensor | None:
    """Return the number of each row's class."""
    if schema.label is None:
        return None
    check_names("the table", [schema.label], source.frame)
    cells = source.frame[schema.label]
    codes = codes_of(cells, schema.labels)
    if (codes < 0).any():
        row = int((codes < 0).argmax())
        what = "none" if bool(is_missing(cells)[row]) else repr(str(cells[row])[:40])
        raise ValueError(
            f"label column {schema.label!r} has {what} in data row {row + 1}; expected one of "
            f"{', '.join(map(str, schema.labels)):.200}: fill in or remove such rows"
        )
    return torch.from_numpy(codes)


def _known_rows(name: str, seen: Tensor) -> tuple[Tensor, list[str]]:
    """Return the numbers of the rows of which something is known, and what is to be said."""
    known = seen.any(1)
    kept, empty = known.nonzero().flatten(), (~known).nonzero().flatten().tolist()
    if not empty:
        return kept, []
    if not len(kept):
        raise ValueError(f"{name} has no known cell in the columns that are modeled")
    shown = ", ".join(str(row + 1) for row in empty[:5]) + (", ..." if len(empty) > 5 else "")
    return kept, [
        f"{name}: {len(empty)} row(s) have no known cell in the columns that are modeled, data "
        f"row {shown}; they were left out"
    ]


def _copies(name: str, dataset: Dataset) -> list[str]:
    """Say how many test rows stand in the training data too, if values are not whole."""
    import pandas

    if bool((dataset.train == dataset.train.floor()).all()):  # whole numbers repeat themselves
        return []

    def hashes(rows: Tensor) -> Any:
        return pandas.util.hash_pandas_object(pandas.DataFrame(rows.numpy()), index=False)

    copies = int(hashes(dataset.test).isin(hashes(dataset.train)).sum())
    if not copies:
        return []
    return [
        f"{name}: {copies} of {len(dataset.test)} test rows are copies of training rows, so that "
        "log P(X) is not that of unseen data; remove copies"
    ]
