"""Reads tables of numbers separated by commas."""

import csv
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppvae.data.files import DamagedFile, check_memory, reading
from ppvae.data.headers import is_number, names_columns

_LOOKED_AT = 1001  # rows at the start by which a table is judged
_PIECE = 2**24  # bytes looked at at once
_PER_BYTE = 8  # bytes of memory for one of a table of one-digit numbers
_SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'"}
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


@dataclass(frozen=True)
class Table:
    """What a table holds.

    Args:
        values: `(data, feature)`.
        columns: the names of the features.
        labels: the class of each row, if a column holds it.
        notes: what was decided about the table, one sentence each.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...]
    labels: NDArray[Any] | None
    notes: tuple[str, ...]


def read_csv(path: Path, header: bool | None, label: str | int | None) -> Table:
    """Read a table of numbers, and of one column of classes.

    A first column without a name, as pandas writes row names, is left out.

    Args:
        path: the file, UTF-8 with fields separated by commas.
        header: whether the first row names the columns; found out if none.
        label: the name or number of the column with the classes.

    Raises:
        ValueError: if the file is damaged, or holds anything but numbers.
    """
    import pandas

    check_memory(path, _PER_BYTE * path.stat().st_size)
    _check_text(path)
    rows = _first_rows(path)
    notes: list[str] = []
    if header is None:
        header, note = names_columns(path, rows)
        notes += [note] if note else []
    names = [name.strip() for name in rows[0]] if header else [str(n) for n in range(len(rows[0]))]
    if header and len(rows) == 1:
        raise ValueError(
            f"{path} holds an array of shape (0, {len(names)}); expected rows of numbers"
        )
    with reading(path):
        table = pandas.read_csv(
            path, header=0 if header else None, index_col=False, low_memory=False
        )
        if table.shape[1] != len(names):
            raise ValueError(f"a row has {table.shape[1]} fields, the first has {len(names)}")
    table.columns = range(len(names))
    kept = list(table.columns)
    classes = None
    if label is not None:
        column = _labelled(path, names, label)
        classes = np.asarray(table[column])
        kept.remove(column)
    notes += _set_aside_counter(path, table, names, kept, header)
    if not kept:
        raise ValueError(f"{path} holds an array of shape ({len(table)}, 0); expected numbers")
    for column in kept:
        _check_column(path, table[column], names[column])
    values = table[kept].to_numpy(np.float64, copy=True)  # pandas may give what is read only
    return Table(values, tuple(names[column] for column in kept), classes, tuple(notes))


def _check_text(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise DamagedFile(path, "it is in UTF-16; save it as UTF-8")
        file.seek(0)
        while piece := file.read(_PIECE):
            if b"\0" in piece:
                raise DamagedFile(path, "it holds bytes 0, so it is no text in UTF-8")


def _first_rows(path: Path) -> list[list[str]]:
    """Return the rows by which a table is judged, each of as many fields."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = (row for row in csv.reader(file) if len(row) > 1 or any(map(str.strip, row)))
            looked_at = list(itertools.islice(rows, _LOOKED_AT))
        except UnicodeDecodeError as error:
            raise DamagedFile(path, f"it is not in UTF-8 ({error.reason}); save it so") from error
        except csv.Error as error:
            raise DamagedFile(path, str(error)) from error
    if not looked_at:
        raise DamagedFile(path, "it holds no rows")
    width = len(looked_at[0])
    others = [(n, row) for n, row in enumerate(looked_at, 1) if len(row) != width]
    if width == 1 or others:
        _refuse_separators(path, looked_at)
    if others:
        n, row = others[0]
        raise DamagedFile(
            path, f"its row {n} has {len(row)} field(s) where the first has {width}; give each "
            "row as many, with decimal points, and each column a name if the first row has names"
        )  # fmt: skip
    return looked_at


def _refuse_separators(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Refuse a table whose fields are separated by something else than commas."""
    lines = [",".join(row) for row in rows]
    for separator, shown in _SEPARATORS.items():
        if all(separator in line for line in lines):
            raise ValueError(
                f"{path} separates its columns by {shown}; expected commas, and decimal points: "
                "data.table reads it as it is"
            )
    if all(len(row) == 1 and len(row[0].split()) > 1 for row in rows[1:] or rows):
        raise ValueError(
            f"{path} separates its columns by spaces; expected commas: data.table reads it as it "
            "is"
        )


def _labelled(path: Path, names: Sequence[str], label: str | int) -> int:
    """Return the number of the column of the classes."""
    name = str(label)
    if names.count(name) > 1:
        raise ValueError(
            f"{path} has {names.count(name)} columns {name!r}; give each its own name"
        )
    if name in names:
        return names.index(name)
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    raise ValueError(f"{path} has no column {name!r}; it has {list(names)!s:.300}")


def _set_aside_counter(
    path: Path, table: Any, names: Sequence[str], kept: list[int], header: bool
) -> list[str]:
    """Leave out a first column that names or counts the rows; return what is to be said."""
    if len(kept) < 2 or kept[0] != 0:
        return []
    column = table[0]
    counting = column.dtype.kind in "iu" and len(column) > 2 and column[0] in (0, 1)
    counting = counting and bool((column.diff().iloc[1:] == 1).all())
    nameless = header and (names[0] == "" or re.fullmatch(r"Unnamed: 0(\.\d+)?", names[0]))
    if nameless or (counting and not header):
        kept.remove(0)
        what = "names the rows, as pandas writes it" if nameless else "counts the rows"
        return [f"{path}: its first column {what}, and was left out"]
    if counting:
        return [f"{path}: column {names[0]!r} counts the rows; remove it if it measures nothing"]
    return []


def _check_column(path: Path, column: Any, name: str) -> None:
    """Refuse a column that is not of numbers, or has gaps."""
    if column.dtype.kind not in "biuf":
        texts = [str(value) for value in column.dropna()]
        example = next((text for text in texts if not is_number(text)), texts[0] if texts else "")
        option = f", --data.label {name}" if name.isprintable() else ""
        advice = f"make it the label{option}, or read the file by data.table"
        if _DECIMAL_COMMA.search(example):
            advice = "write decimal points, and commas between the columns only"
        elif any(separator in example for separator in _SEPARATORS):
            advice = "separate the columns by commas"
        elif is_number(example):
            advice = "it has more digits than a number can keep"
        raise ValueError(f"{path}: column {name!r} holds text such as {example[:40]!r}; {advice}")
    if column.isna().any():
        row = int(column.isna().to_numpy().argmax()) + 1
        raise ValueError(
            f"{path}: {int(column.isna().sum())} value(s) of column {name!r} are missing, the "
            f"first in data row {row}; data.table takes them as they are"
        )
