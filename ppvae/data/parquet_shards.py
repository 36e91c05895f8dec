"""Parquet files of rows, of which a row group is read at a time."""

from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ppvae.data.files import DamagedFile, reading
from ppvae.data.shards import Shard

_GROUP = 2**28  # bytes of a row group, which is read whole

_Array = NDArray[Any]


class LastGroup:
    """The row group that was read last, of all files of a folder together."""

    def __init__(self) -> None:
        self.held: tuple[Path, int, _Array] | None = None


@final
class ParquetFile(Shard):
    """A Parquet file of numbers: columns of one, or a single column of lists of one length.

    A row group is read whole.

    Args:
        path: the file.
        last: keeps the group that was read last.

    Raises:
        ImportError: if the package pyarrow is not installed.
        ValueError: if the file is damaged, or holds something else.
    """

    def __init__(self, path: Path, last: LastGroup) -> None:
        try:
            from pyarrow import parquet, types
        except ImportError as error:
            raise ImportError(
                f"{path} is read by pyarrow: pip install 'ppvae[parquet]'"
            ) from error
        self._parquet = parquet
        with reading(path):
            self._metadata = parquet.read_metadata(path)
            schema = self._metadata.schema.to_arrow_schema()
            sizes = [
                self._metadata.row_group(group).num_rows
                for group in range(self._metadata.num_row_groups)
            ]
        kinds = [field.type for field in schema]
        self._listed = len(kinds) == 1 and types.is_fixed_size_list(kinds[0])
        values = [kinds[0].value_type] if self._listed else kinds
        for field, kind in zip(schema, values, strict=True):
            if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
                raise ValueError(
                    f"{path}: the column {field.name!r} is of type {field.type}; expected "
                    "numbers, in a column for each feature or in one column of lists of a fixed "
                    "size"
                )
        rows, features = sum(sizes), kinds[0].list_size if self._listed else len(kinds)
        if not rows or not features:
            raise ValueError(f"{path} holds an array of shape {(rows, features)}; expected rows")
        dtype = np.result_type(*(kind.to_pandas_dtype() for kind in values))
        largest = max(sizes) * features * dtype.itemsize
        if largest > _GROUP:
            raise ValueError(
                f"{path} has row groups of up to {largest / 2**20:,.0f} MiB, which are read "
                f"whole; write it with smaller ones, of at most {_GROUP >> 20} MiB: "
                f"row_group_size={_GROUP // (4 * features * dtype.itemsize)}"
            )
        starts = np.concatenate([[0], np.cumsum(sizes)])
        self._columns = tuple(schema.names)
        self._starts: NDArray[np.int64] = starts.astype(np.int64)
        self._last = last
        super().__init__(path, (rows, features), dtype, starts[:-1][np.diff(starts) > 0].tolist())

    def read(self, start: int, out: _Array) -> None:
        """Fill an array with the rows from `start` on."""
        done = 0
        while done < len(out):
            group = int(np.searchsorted(self._starts, start + done, "right")) - 1
            values = self._group(group)
            piece = values[start + done - self._starts[group] :][: len(out) - done]
            out[done : done + len(piece)] = piece
            done += len(piece)

    def _group(self, group: int) -> _Array:
        known = self._last.held
        if known is not None and known[:2] == (self.path, group):
            held: _Array = known[2]
            return held
        with (
            reading(self.path),
            self._parquet.ParquetFile(self.path, metadata=self._metadata) as file,
        ):
            columns = [column.combine_chunks() for column in file.read_row_group(group).columns]
            for name, column in zip(self._columns, columns, strict=True):
                self._check(name, column, group, 1)
            if self._listed:
                columns = [columns[0].flatten()]
                self._check(self._columns[0], columns[0], group, self.shape[1])
            arrays = [column.to_numpy(zero_copy_only=False) for column in columns]
        stated = int(self._starts[group + 1] - self._starts[group])
        for name, array in zip(self._columns, arrays, strict=True):
            rows = len(array) // (self.shape[1] if self._listed else 1)
            if rows != stated:
                raise DamagedFile(
                    self.path,
                    f"the column {name!r} has {rows} rows where the file states {stated}",
                )
        if self._listed:
            values: _Array = arrays[0].reshape(-1, self.shape[1])
            values = values.astype(self.dtype, copy=False)
        else:
            values = np.empty((len(arrays[0]), len(arrays)), self.dtype)
            for place, array in enumerate(arrays):
                values[:, place] = array
        self._last.held = (self.path, group, values)
        return values

    def _check(self, name: str, column: Any, group: int, width: int) -> None:
        """Refuse missing values of a column, or of its lists of so many values."""
        if column.null_count:
            place = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            raise DamagedFile(
                self.path,
                f"row {self._starts[group] + place // width} has no value in the column {name!r}; "
                "remove or impute the rows without",
            )
