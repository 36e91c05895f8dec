"""Frames of any library as columns of NumPy, and files that hold frames."""

import inspect
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppvae.data.files import REFLATION, DamagedFile, check_memory, reading
from ppvae.data.tabular.cells import Cells, Frame
from ppvae.data.tabular.spreadsheets import check_spreadsheet

FRAME_FILES = {".parquet": "pyarrow", ".feather": "pyarrow", ".xlsx": "openpyxl"}
"""The endings of files of frames, and the package that reads each."""
_CELL = 8  # bytes of a cell at least
_SMALL = 2**28  # bytes that any file may need


def as_frame(source: Any, name: str) -> tuple[Frame, Cells | None]:
    """Return a table's columns by name, and the names of its rows if it has any.

    Args:
        source: a frame of pandas, polars, pyarrow or another library that narwhals knows, a
            structured array of NumPy, or a dict of columns.
        name: what to call it in an error.

    Raises:
        TypeError: if it is no table.
        ValueError: if it has no rows or no columns, or columns of different lengths.
    """
    rows: Cells | None = None
    if isinstance(source, np.ndarray) and source.dtype.names:
        frame = {str(column): np.asarray(source[column]) for column in source.dtype.names}
    elif isinstance(source, Mapping):
        frame = {str(column): np.asarray(cells) for column, cells in source.items()}
    else:
        frame, rows = _native(source, name)
    for column, cells in frame.items():
        if cells.ndim != 1:
            raise ValueError(
                f"{name}: column {column!r} has shape {cells.shape}; expected one value a row"
            )
    lengths = {len(cells) for cells in frame.values()}
    if len(lengths) > 1:
        shown = {column: len(cells) for column, cells in frame.items()}
        raise ValueError(f"{name} has columns of different lengths: {shown!s:.200}")
    if not frame or lengths == {0}:
        raise ValueError(f"{name} has {len(frame)} columns and no rows; expected rows")
    return {column: _native_order(cells) for column, cells in frame.items()}, rows


def read_frame_file(path: Path) -> tuple[Frame, Cells | None]:
    """Read a file `.parquet`, `.feather` or `.xlsx`, of which the first sheet.

    Raises:
        ImportError: if the package that reads it is not installed.
        ValueError: if the file is damaged.
    """
    import importlib.util

    import pandas

    ending = path.suffix.lower()
    package = FRAME_FILES[ending]
    if importlib.util.find_spec(package) is None:
        extra = "excel" if ending == ".xlsx" else "parquet"
        raise ImportError(
            f"{path} needs the package {package}: pip install 'ppvae[{extra}]', or save the table "
            "as .csv"
        )
    if ending == ".parquet":
        return as_frame(_read_parquet(path), str(path))
    if ending == ".xlsx":
        check_spreadsheet(path)
    with reading(path):
        table = pandas.read_excel(path) if ending == ".xlsx" else _read_feather(path)
    return as_frame(table, str(path))


def _read_feather(path: Path) -> Any:
    from pyarrow import feather

    table = feather.read_table(path)
    table.validate(full=True)
    return table.to_pandas()


def _read_parquet(path: Path) -> Any:
    """Read a file; refuse more cells than one of its size can hold, or the machine can take."""
    from pyarrow import parquet

    with reading(path):
        file = parquet.ParquetFile(path)
    with file:
        about = file.metadata
        # Not of each column: damaged metadata of columns end the process, as no error can.
        groups = [about.row_group(place) for place in range(about.num_row_groups)]
        rows = max(about.num_rows, sum(group.num_rows for group in groups))
        cells = rows * about.num_columns
        size = _CELL * cells + sum(max(0, group.total_byte_size) for group in groups)
        if cells < 0 or size > max(_SMALL, REFLATION * path.stat().st_size):
            raise DamagedFile(path, f"it cannot hold the {cells} cells that it states")
        check_memory(path, size, "take fewer rows")
        with reading(path):
            table = file.read(use_threads=False)  # so that one page is in memory at a time
            table.validate(full=True)
            return table.to_pandas()


def unique_names(names: Sequence[str]) -> list[str]:
    """Return names of which no two are equal and none is empty.

    Example:
        >>> unique_names(["a", "", "a"])
        ['a', 'column 2', 'a (2)']
    """
    seen: Counter[str] = Counter()
    unique = []
    for place, name in enumerate(names, 1):
        name = name or f"column {place}"
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return unique


def _native(source: Any, name: str) -> tuple[Frame, Cells | None]:
    """Return the columns of a frame of some library, and the names of its rows."""
    import narwhals

    names = unique_names([str(column) for column in getattr(source, "columns", ())])
    if hasattr(source, "copy") and names != [*getattr(source, "columns", ())]:
        source = source.copy(deep=False)  # of pandas, whose columns may share a name
        source.columns = names
    try:
        table = narwhals.from_native(source, eager_only=True)
    except TypeError:
        kind = type(source).__name__
        lazy = "; call .collect()" if hasattr(source, "collect") else ""
        raise TypeError(
            f"{name} must be a file, a frame (pandas, polars, pyarrow), a structured array or a "
            f"dict of columns, got {kind}{lazy}"
        ) from None
    frame = {str(column): _cells(table.get_column(column)) for column in table.columns}
    index = getattr(source, "index", None)
    if index is None or inspect.isroutine(index) or _counts(index):
        return frame, None
    return frame, np.asarray(index).astype(object)


def _cells(column: Any) -> Cells:
    """Return a column as NumPy has it: numbers with NaN, dates, or objects with None."""
    import pandas

    kind = column.dtype
    if kind.is_numeric() and column.null_count() > 0:
        return np.asarray(column.cast(_float()).to_numpy(), dtype=np.float64)
    if kind.is_numeric() or kind.is_temporal():
        cells = np.asarray(column.to_numpy())
        return cells.astype(np.float64) if cells.dtype == object and kind.is_numeric() else cells
    if str(kind) == "Boolean" and column.null_count() == 0:
        return np.asarray(column.to_numpy(), dtype=bool)
    cells = np.array(column.to_numpy(), dtype=object)
    cells[pandas.isna(cells)] = None
    return cells


def _float() -> Any:
    import narwhals

    return narwhals.Float64


def _counts(index: Any) -> bool:
    """Tell whether the names of a table's rows are their numbers."""
    values = np.asarray(index)
    return values.dtype.kind in "iu" and bool((values == np.arange(len(values))).all())


def _native_order(cells: Cells) -> Cells:
    if cells.dtype.kind in "US":
        return cells.astype(object)
    return cells.astype(cells.dtype.newbyteorder("="), copy=False)
