"""Reads matrices in the Matrix Market format; sizes are checked before memory is taken."""

import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ppvae.data.files import REFLATION, DamagedFile, Unpacked, check_memory, reading

_LINE = 2**16  # bytes of a line of the header at most
_ENTRY = 24  # bytes of memory that an entry needs while it is read
_FIELDS = {"integer": np.int64, "real": np.float64, "pattern": None}


@dataclass(frozen=True)
class MatrixMarket:
    """A file whose header was read, and whose values can be.

    SciPy's reader of the format is not used: on damaged files it reads outside of its memory
    (Boisvert, Pozo and Remington, "The Matrix Market exchange formats", 1996).

    Args:
        path: the file, packed by gzip or not.
        dense: whether all values are there, column by column; otherwise rows, columns and values.
        field: "integer", "real" or "pattern", which has no values.
        rows: the number of rows.
        columns: the number of columns.
        entries: the number of values.
    """

    path: Path
    dense: bool
    field: str
    rows: int
    columns: int
    entries: int

    @classmethod
    def of(cls, path: Path) -> "MatrixMarket":
        """Read the header.

        Raises:
            ValueError: if it is damaged, or of a kind that counts do not have, or states more
                than the file, or the memory of the machine, can hold.
        """
        with reading(path), opened(path) as file:
            dense, field, sizes = _header(file)
            if len(sizes) != (2 if dense else 3) or min(sizes) < 0:
                raise ValueError(f"it states the sizes {sizes}")
        rows, columns = sizes[:2]
        found = cls(path, dense, field, rows, columns, rows * columns if dense else sizes[2])
        if found.entries > path.stat().st_size * (REFLATION if path.suffix == ".gz" else 1):
            raise DamagedFile(path, f"it cannot hold the {found.entries} values that it states")
        check_memory(path, found.entries * _ENTRY)
        return found

    def read(self) -> Any:
        """Return the values as a sparse matrix of SciPy, `(rows, columns)`.

        Raises:
            ValueError: if they are damaged.
        """
        from scipy.sparse import coo_array

        columns = {"row": np.int64, "column": np.int64, "value": _FIELDS[self.field]}
        wanted = ["value"] if self.dense else [name for name in columns if columns[name]]
        with reading(self.path), opened(self.path) as file:
            _header(file)
            table = _table(file, {name: columns[name] for name in wanted})
            if len(table) != self.entries:
                raise ValueError(f"it has {len(table)} values where it states {self.entries}")
            if self.dense:
                values = table["value"].to_numpy()
                return coo_array(values.reshape((self.rows, self.columns), order="F"))
            places = tuple(table[name].to_numpy() - 1 for name in ("row", "column"))
            for place, size in zip(places, (self.rows, self.columns), strict=True):
                if len(place) and not (place.min() >= 0 and place.max() < size):
                    raise ValueError(f"it has a value outside of its {self.rows} x {self.columns}")
            values = table["value"].to_numpy() if "value" in table else np.ones(len(table), int)
            return coo_array((values, places), shape=(self.rows, self.columns))


def opened(path: Path) -> BinaryIO:
    """Open a file, packed by gzip or not."""
    if path.suffix != ".gz":
        return path.open("rb")
    return io.BufferedReader(Unpacked(path, gzip.open(path)))


def _header(file: BinaryIO) -> tuple[bool, str, list[int]]:
    """Read the header up to the values: whether all are there, their kind, and the sizes."""
    words = file.readline(_LINE).decode("latin1").lower().split()
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"]:
        raise ValueError("it does not begin with '%%MatrixMarket matrix' and its three kinds")
    form, field, symmetry = words[2:]
    kinds = form in ("coordinate", "array") and field in _FIELDS and symmetry == "general"
    if not kinds or (form == "array" and field == "pattern"):
        raise ValueError(f"it is of the kind {' '.join(words[2:])!r:.60}; expected counts")
    line = file.readline(_LINE)
    while line.startswith(b"%") or (line and not line.strip()):
        line = file.readline(_LINE)
    return form == "array", field, [int(word) for word in line.split()]


def _table(file: BinaryIO, columns: dict[str, Any]) -> Any:
    import pandas

    try:
        return pandas.read_csv(
            file, sep=r"\s+", header=None, names=[*columns], dtype=columns, index_col=False
        )
    except pandas.errors.EmptyDataError:
        return pandas.DataFrame({name: np.empty(0, kind) for name, kind in columns.items()})
