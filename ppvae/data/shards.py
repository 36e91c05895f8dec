"""Files of rows of one shape, of which some rows are read at a time."""

import math
import mmap
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from ppvae.data.files import DamagedFile
from ppvae.data.numpy_files import npy_header

_Array = NDArray[Any]


class Shard(ABC):
    """A file of rows.

    Args:
        path: the file.
        shape: the number of rows, and the shape of one.
        dtype: of the values as they are read.
        cuts: the rows before which reading can begin without reading others, where it cannot
            before any; the first is 0.
    """

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        cuts: Sequence[int] = (),
    ) -> None:
        self.path = path
        self.shape = tuple(shape)
        self.dtype = dtype
        self.cuts: NDArray[np.int64] = np.asarray(cuts, dtype=np.int64)

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def read(self, start: int, out: _Array) -> None:
        """Fill an array `(rows, *event)` with the rows from `start` on.

        Raises:
            ValueError: if the file has been damaged since it was opened.
        """

    def marks(self) -> Sequence[int]:
        """Return size and time of change of the file: others if its content has changed."""
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns


@final
class ArrayFile(Shard):
    """An array `.npy`; rows are read, not mapped into memory, so that none stay there.

    Raises:
        ValueError: if the file is damaged, or its rows do not lie one after the other.
    """

    def __init__(self, path: Path) -> None:
        shape, fortran, dtype, self._offset = npy_header(path)
        if fortran and len(shape) > 1:
            raise ValueError(
                f"{path} is stored column by column, so that no row can be read alone; save it "
                "row by row: np.save(path, np.ascontiguousarray(x))"
            )
        self._stored = dtype
        super().__init__(path, shape, dtype.newbyteorder("="))

    def read(self, start: int, out: _Array) -> None:
        """Fill an array with the rows from `start` on."""
        values = out if self._stored == self.dtype else np.empty(out.shape, self._stored)
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        with self.path.open("rb") as file:
            file.seek(self._offset + start * width)
            found = file.readinto(values.reshape(-1).view(np.uint8).data)
        if found != values.nbytes:
            raise DamagedFile(
                self.path, f"it ends within row {start + found // max(1, width)}, and had more"
            )
        if values is not out:
            out[...] = values


@final
class MappedArray(Shard):
    """An `np.memmap` of the caller's, of which no page stays in memory after it was read.

    Only of one in the mode "c" pages stay there: it may hold values that its file does not.
    """

    def __init__(self, values: "np.memmap[Any, Any]") -> None:
        self._values = values
        self._map = mapping_of(values) if values.mode != "c" else None
        super().__init__(
            Path(str(values.filename or "the memmap")),
            values.shape,
            values.dtype.newbyteorder("="),
        )

    def read(self, start: int, out: _Array) -> None:
        """Fill an array with the rows from `start` on."""
        out[...] = self._values[start : start + len(out)]
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)

    def marks(self) -> Sequence[int]:
        """Return size and time of change of the file, and where in it the values begin."""
        begin = self._values.__array_interface__["data"][0] % mmap.PAGESIZE
        known = super().marks() if self.path.is_file() else ()
        return *known, self._values.offset, begin, *self._values.strides


def mapping_of(values: object) -> mmap.mmap | None:
    """Return the map into memory that holds the values of an `np.memmap`, if any does.

    What is computed from a `memmap` has its class, but no map.
    """
    if not isinstance(values, np.memmap):
        return None
    base: Any = values
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None
